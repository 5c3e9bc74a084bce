"""One module per task of the tiny world: what it shows, how it is drawn, and the words for it."""
