"""Memory that one step lets go of is kept for the next: glibc would hand it back to the system, page by page."""

import numpy as np

# The largest block whose release still teaches glibc to keep as much; larger ones it always maps and unmaps.
LARGEST_KEPT = 31 * 2**20


def keep_freed_memory() -> None:
    """Have the C library keep blocks of up to 32 MB, and twice as much at its heap's end, when they are freed.

    It learns that from the largest block that was freed so far (`M_MMAP_THRESHOLD` in mallopt's manual). One is
    allocated and freed here, none of whose pages is touched. Activations of a batch come and go at every layer; until
    a large one happens to be freed, each is new memory, which the kernel has to clear.
    """
    np.empty(LARGEST_KEPT, np.uint8)  # bytearray would fill it with zeros, which count as the merge's peak
