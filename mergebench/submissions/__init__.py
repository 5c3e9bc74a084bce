"""Submissions to the leaderboard: what one file holds, how it is made, read with suspicion, and held to what it says.

Nothing of a submission is run but by `rerunning`. Not here: how a method is measured, and what a board shows.
"""
