"""What every merge method must keep, whoever wrote it: properties, tried on random miniature models.

No suite and no real weights: a check takes seconds.
"""
