"""What a suite or a study asks for, as variants, and the bench: its zoo and its images in place for every cell.

No method is run and nothing is scored here; a protocol is a list of variants and never a name in the code.
"""
