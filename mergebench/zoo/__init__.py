"""One backbone's base, experts and heads: read lazily, held to each other, to their notes and to what was set aside.

Which of them are merged, and from which images, is a suite's affair.
"""
