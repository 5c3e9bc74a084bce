"""Freed memory is kept: what comes and goes again is not new memory each time."""

import platform
import subprocess
import sys

import pytest

from mergebench.measuring.measure import measure
from mergebench.merging.allocation import keep_freed_memory

# In a process of its own: what the C library has learnt lasts.
SCRIPT = """
import resource, sys
import torch
from mergebench.merging.allocation import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "kept":
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
for megabytes in range(2, 31):  # each more than any that was freed before, 119,000 pages of 4 kB together
    torch.ones(megabytes * 2**18)
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's")
def test_ever_larger_blocks_that_come_and_go_are_not_new_memory_each_time():
    kept, plain = (
        int(subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True).stdout)
        for how in ("kept", "plain")
    )
    assert kept < plain / 2


def test_it_is_no_part_of_what_a_merge_is_said_to_take():
    with measure("cpu") as meter:
        keep_freed_memory()
    assert meter.cost.peak_bytes < 2**22
