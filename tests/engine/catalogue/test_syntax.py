"""Source in words: what only a reader sees is not in them, and all that a program does is."""

import ast

import pytest

from mergebench.catalogue.syntax import in_words, names_bound


def words(source, **meanings):
    """A source's words, where some names are the module's."""
    return in_words(ast.parse(source).body, lambda chain: meanings.get(chain[0]))


PLAIN = """
class A:
    x = 1

    def f(self, n):
        if n:
            return [n * i for i in range(3)]
        m = f"{n:>3}"
        return m
"""
COMMENTED = '''
"""What it is for."""
from __future__ import annotations
from typing import TYPE_CHECKING
import numpy as np  # not used

if TYPE_CHECKING:
    from somewhere import Number


class A:  # a class
    """A."""

    x = 1
    """Of an attribute."""

    def f(self: A, n: Number) -> list[int] | str:
        """Of a method."""

        if n:  # always

            return [
                n * i
                for i in range(0x3)
            ]
        m: str = f'{n:>3}'
        k: int
        pass
        return (m)
'''


def test_comments_docstrings_annotations_imports_and_layout_say_nothing():
    assert words(COMMENTED) == words(PLAIN)


def test_trees_are_told_alike_though_pythons_make_them_in_two_ways():
    (statement,) = ast.parse('f"{x:>{n}}"').body
    before = in_words([ast.Return(statement.value)], lambda chain: None)
    statement.value.values[0].format_spec.values.append(ast.Constant(""))  # as Python 3.12 has it
    function = ast.parse("def f(): return 1").body[0]
    assert in_words([ast.Return(statement.value)], lambda chain: None) == before
    plain = in_words([function], lambda chain: None)
    function.type_params = []
    assert in_words([function], lambda chain: None) == plain


CHANGES = {
    "a constant": ("x = 1", "x = 2"),
    "the same number of another type": ("x = 1", "x = 1.0"),
    "an operator": ("n * i", "n + i"),
    "a condition": ("if n:", "if not n:"),
    "a default": ("self, n)", "self, n=0)"),
    "a name": ("return m", "return n"),
    "a format": (":>3", ":<3"),
    "a base": ("class A:", "class A(dict):"),
    "a decorator": ("    def f", "    @staticmethod\n    def f"),
    "a field": ("x = 1", "x: int = 1"),
    "an order": ("    x = 1\n", "    y = 1\n    x = 1\n"),
    "a statement left out": ("        if n:\n            return [n * i for i in range(3)]\n", ""),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_a_program_does_is_in_its_words(change):
    old, new = CHANGES[change]
    assert old in PLAIN
    assert words(PLAIN.replace(old, new)) != words(PLAIN)


def test_a_field_without_a_value_is_kept_in_a_class_and_only_there():
    assert words("class A:\n    x: int") != words("class A:\n    pass")
    assert words("class A:\n    x: int") == words("class A:\n    x: 'float'")
    assert words("def f():\n    x: int\n    return 1") == words("def f():\n    return 1")
    assert words("class A:\n    if B:\n        x: int = 1") != words("class A:\n    if B:\n        x = 1")


def test_what_is_for_type_checkers_is_left_out_and_what_runs_instead_is_kept():
    assert words("if typing.TYPE_CHECKING:\n    x = 1\nelse:\n    y = 2") == words("y = 2")
    assert words("if TYPE_CHECKED:\n    x = 1") != ""


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("y = x", True),
        ("def f(): return x.a.b", True),
        ("def f(y=x): return y", True),
        ("def f(x=x): return x", True),  # the default is the module's
        ("def f(x): return x", False),
        ("def f():\n    x = 1\n    return x", False),
        ("def f():\n    global x\n    x = 1\n    return x", True),
        ("def f():\n    for x in y: print(x)", False),
        ("def f():\n    def g():\n        x = 1\n    return x", True),  # another function's
        ("def f():\n    x = 1\n    def g(): return x\n    return g", False),
        ("def f(x):\n    def g():\n        global x\n        return x\n    return g", True),
        ("def f():\n    [x for x in y]\n    return x", True),  # a comprehension's names are its own
        ("lambda x: x", False),
        ("lambda y=x: y", True),
        ("class A:\n    def f(self): return x", True),
        ("class A(x): y = 1", True),
        ("@x\ndef f(): return 1", True),
        ("@x.y\ndef f(x): return 1", True),
        ("def f(y: x) -> x: return y", False),
        ("def f():\n    y: x = 1\n    return y", False),
        ("y.x = 1", False),
        ("f(x=1)", False),
    ],
)
def test_a_name_stands_for_the_module_s_unless_it_is_the_function_s_own(source, named):
    assert ("MINE" in words(source, x="MINE")) == named


def test_the_words_of_a_card_are_for_people_and_its_contract_is_not():
    card = '@merge_method("m", title="{}", year=2024, needs=Needs(base={}), role="{}")\ndef m(pool): return 1'
    told = words(card.format("M", True, "method"), merge_method="CODE", Needs="CODE")
    assert "CODE" not in told  # a card's literals depend on no code
    assert words(card.format("Another title", True, "method")) == told
    assert words(card.format("M", False, "method")) != told
    assert words(card.format("M", True, "floor")) != told
    qualified = '@mergebench.merge_method("m", title="M", needs=Needs(base=True), role="method")\ndef m(pool): return 1'
    assert words(qualified) == told


def test_the_names_that_a_statement_binds():
    def bound(source):
        (statement,) = ast.parse(source).body
        return list(names_bound(statement))

    assert bound("def f(): x = 1") == ["f"]
    assert bound("class A: x = 1") == ["A"]
    assert bound("a, (b, *c) = f(d)") == ["a", "b", "c"]
    assert bound("if y:\n    def f(): z = 1\nelse:\n    f = None") == ["f", "f"]
    assert bound("a[b] = [c for c in d]") == []
