"""`merge` with a method that raises whatever it likes: one line, status 2, nothing written."""

import pytest


@pytest.mark.parametrize("kind", ["Odd", "SystemExit", "GeneratorExit", "ValueError", "MemoryError"])
def test_a_merge_of_a_suite_that_raises_is_one_line_and_writes_nothing(odd, refused, mini_suite, tmp_path, kind):
    output = tmp_path / "merged.safetensors"
    line = refused("merge", "--method", odd, "--set", f"kind={kind}", "--suite", mini_suite, "--output", output)
    assert f"method 'odd' failed: {kind}: two lines (at odd.py:12); nothing is written" in line
    assert not output.exists()
