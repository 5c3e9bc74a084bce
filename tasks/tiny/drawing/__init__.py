"""What the tiny world's renderers draw with: real pixels, pens, fonts, figures. It knows of no task."""
