"""Searches for a method's hyper-parameters, on benches whose test split is the validation split.

Nothing here may see a test image; the choice is then run like any other cell.
"""
