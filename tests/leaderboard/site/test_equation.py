"""Equations of docstrings as MathML."""

import ast
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mergebench import methods
from mergebench.leaderboard.site.equation import as_math, blocks

METHODS = Path(methods.__file__).parent


def plain(line):
    """A line's elements as nested lists: [tag, children or text]."""

    def told(element):
        return [element.tag, *(map(told, element) if len(element) else [element.text])]

    (math,) = ElementTree.fromstring(f"<p>{as_math(line)}</p>")
    return [told(child) for child in math[0] if child.tag != "mspace"]


def test_what_is_below_and_above_is_set_there():
    assert plain("theta_0") == [["msub", ["mi", "θ"], ["mrow", ["mn", "0"]]]]
    assert plain("W_t^T") == [["msubsup", ["mi", "W"], ["mrow", ["mi", "t"]], ["mrow", ["mi", "T"]]]]
    assert plain("tau'_t") == [["msub", ["msup", ["mi", "τ"], ["mo", "′"]], ["mrow", ["mi", "t"]]]]


def test_an_apostrophe_in_a_word_is_no_prime():
    assert plain("i's") == [["mi", "i"], ["mo", "'"], ["mi", "s"]]


def test_groups_go_below_whole():
    (sum_,) = plain("sum_{i <= k}")
    assert sum_[1] == ["mo", "∑"] and ["mo", "≤"] in sum_[2]
    (step,) = plain("A_(t-1)")
    assert [part[1] for part in step[2][1:]] == ["t", "−", "1"]
    assert plain("s_t,r")[0][2] == ["mrow", ["mi", "t"], ["mo", ","], ["mi", "r"]]


def test_a_comma_that_ends_a_clause_is_not_below():
    assert [part[0] for part in plain("lambda_t, k")] == ["msub", "mo", "mi"]


def test_an_inverse_is_above_its_bracket():
    assert plain(")^-1")[0] == ["msup", ["mo", ")"], ["mrow", ["mo", "−"], ["mn", "1"]]]


def test_words_and_signs_are_upright():
    assert plain("argmin ||x||") == [["mtext", "argmin"], ["mo", "‖"], ["mi", "x"], ["mo", "‖"]]


@pytest.mark.parametrize(
    "line", ["", "_", "^", "x_", "x^ y", "a_(b", "}", "<script>alert(1)</script>", "&amp;", "x_^2"]
)
def test_whatever_the_line_it_is_well_formed_and_no_markup(line):
    root = ElementTree.fromstring(f"<p>{as_math(line)}</p>")
    assert not {"script"} & {element.tag for element in root.iter()}


def test_every_equation_of_the_methods_keeps_all_its_letters():
    docs = [
        ast.get_docstring(node)
        for file in METHODS.glob("*.py")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.decorator_list
    ]
    lines = [
        line
        for doc in docs
        for kind, part in blocks((doc or "").partition("\nArgs:")[0])
        for line in part
        if kind == "equation"
    ]
    assert len(lines) > 40
    for line in lines:
        root = ElementTree.fromstring(f"<p>{as_math(line)}</p>")
        words = [element.text for element in root.iter() if element.tag in ("mi", "mtext", "mn") and element.text]
        assert not [word for word in words if word in ("theta", "tau", "lambda")], line
        assert len(root) >= 1
        # One letter for each letter or digit, but for those of Greek names and sums.
        assert sum(map(len, words)) >= sum(c.isalnum() for c in line) * 0.4, line


def test_text_and_equations_stand_in_their_order():
    doc = "Does it.\n\n    a = b\n    c = d\n\nX is\nthat.\n"
    assert blocks(doc) == [("text", ["Does it."]), ("equation", ["a = b", "c = d"]), ("text", ["X is that."])]
