"""Texts of anybody's on one line: what is printable stays, what acts on a terminal does not."""

import pytest

from mergebench.errors import on_one_line


@pytest.mark.parametrize(
    "text",
    ["", "RegMean++ [2]", "  ties   0.5 ±", "Käse 東京 नमस्ते\u200dक 👩\u200d🎨", "a\xa0b\u3000c", "C:\\x", "<b>|$x$"],
)
def test_what_is_printable_stays(text):
    assert on_one_line(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("size mismatch\n\tfor a: \r\n  b", "size mismatch for a: b"),
        ("a\u2028b\u2029c\x85d\x0be\x0cf\tg", "a b c d e f g"),
        ("\x1b[2J\x1b]0;x\x07", "\\x1b[2J\\x1b]0;x\\x07"),
        ("\x9b31m\x00\x7f", "\\x9b31m\\x00\\x7f"),
        ("cod\u202etxt\u2066.\ufeff\u200b", "cod\\u202etxt\\u2066.\\ufeff\\u200b"),
        ("\ud800\U000e0001", "\\ud800\\U000e0001"),
    ],
)
def test_what_is_not_seen_is_spelt_and_lines_are_joined(text, shown):
    assert on_one_line(text) == shown


def test_a_long_text_is_cut_and_its_length_told():
    assert on_one_line("x" * 10**6, 10) == "x" * 10 + "... (1,000,000 characters)"
    assert on_one_line("x" * 10, 10) == "x" * 10
