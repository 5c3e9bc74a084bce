"""What computes a run's cells in place of the process that was started: processes beside it, and clusters.

Each makes the plan anew from what was asked for, so that no weights and no code are sent: a cell whose key comes out
the same, with its hashes of weights, images and code, is the same cell.
"""
