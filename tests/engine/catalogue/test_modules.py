"""A module's source as it stands in its file: what Python's own parser does not take is one line, with the place."""

import pytest

from mergebench.catalogue.discovery import scan_file
from mergebench.catalogue.modules import Module
from mergebench.errors import MergebenchError

METHOD = """from mergebench import Needs, merge_method


@merge_method("mine", title="T", needs=Needs())
def mine(pool, *, share: float = {default}):
    return {result}
"""
UNREAD = {
    "a long sum": ("1" + " + 1" * 100_000, "mine.py: nested too deeply to be read; split the expression"),
    "lambdas": ("lambda: " * 100_000 + "1", "mine.py: nested too deeply to be read; split the expression"),
    "brackets": ("(" * 1000 + ")" * 1000, "mine.py:6: not valid Python: too many nested parentheses"),
    "a null byte": ("\0", "not valid Python: source code (string )?cannot contain null bytes"),
}


@pytest.mark.parametrize(("result", "told"), UNREAD.values(), ids=UNREAD)
@pytest.mark.parametrize("read", [Module, lambda path, _: list(scan_file(path))], ids=["its code", "its methods"])
def test_what_the_parser_does_not_take_is_refused_with_the_place(read, result, told, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(METHOD.format(default=1, result=result))
    with pytest.raises(MergebenchError, match=told):
        read(path, "")


def test_a_default_that_is_nested_too_deeply_is_refused_with_the_method(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(METHOD.format(default="1" + " + 1" * 1500, result="{}"))
    with pytest.raises(MergebenchError, match=r"mine\.py:5: @merge_method of mine: a default .* too deeply; give it a"):
        list(scan_file(path))
