"""From a request to stored results, looking after a run's folder, and merges of files without a suite.

What a cell is and what makes it another one is decided here; what anything looks like on a terminal is not.
"""
