"""Training experts: an encoder behind frozen heads, from the images of a task to the file. No merge needs any of it."""
