"""Training experts: an encoder behind frozen heads, from the images of a task to the file.

No merge and no result depends on code in here: experts enter as weights, by their hashes.
"""
