"""Tasks and their images: cards, splits, readers of every kind of data, corruptions, the cache, and draws from it.

No weights, and nothing of what methods make of the images: they leave as arrays of pixels and labels.
"""
