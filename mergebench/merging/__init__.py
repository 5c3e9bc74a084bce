"""What a merge method is, what it is given, and what it is held to; the mathematics that several methods share.

Here nobody knows which methods there are, where files lie, or what is evaluated: whoever runs a merge hands it in.
"""
