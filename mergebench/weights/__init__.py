"""Checkpoints as they lie on disk and on the hub, and the empty encoders that they are of, all under timm's names.

Files are written whole here, for all rooms, and noted where something rests on them. What only a zoo, a task or a
method can know of weights does not belong here.
"""
