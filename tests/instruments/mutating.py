"""Files that were whole once: hypothesis changes their bytes, cuts, doubles, and puts in what readers stumble over."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

Test = TypeVar("Test", bound=Callable)

TOKENS = (
    b"\0", b"\xff", b"\xed\xa0\x80", b"\n", b"\r", b'"', b"'", b"{", b"}", b"[", b"]", b":", b",", b"-", b"&a", b"*a",
    b"<<", b"!!int ''", b"!!set", b"null", b"true", b"NaN", b"Infinity", b"-1", b"1e999", b"0", b"1.5", b"[]", b"{}",
    b"99999999999999999999", b"\\ud800", b"\\u0000", b"\xe2\x80\xae", b"\x1b[31m", b"../", b"/", b"PK\3\4", b"PK\5\6",
    b"\x80\x02", b"c__builtin__\neval\n", b"." * 300, b"[" * 2000, b"9" * 5000,
)  # fmt: skip


def mutated(valid: bytes, tokens: Sequence[bytes] = TOKENS) -> st.SearchStrategy[bytes]:
    """A file's content after a few accidents.

    Args:
        valid: the content.
        tokens: what may be put in, or over what is there.
    """
    place = st.integers(0, max(len(valid) - 1, 0))
    edits = st.one_of(
        st.tuples(st.just("flip"), place, st.integers(1, 255)),
        st.tuples(st.just("cut"), place, st.just(0)),
        st.tuples(st.just("drop"), place, st.integers(1, 40)),
        st.tuples(st.just("double"), place, st.integers(1, 40)),
        st.tuples(st.just("put"), place, st.sampled_from(tokens)),
        st.tuples(st.just("over"), place, st.sampled_from(tokens)),
        st.tuples(st.just("put"), place, st.binary(max_size=8)),
    )
    return st.lists(edits, min_size=1, max_size=5).map(lambda chosen: _edited(valid, chosen))


def _edited(content: bytes, edits: Sequence[tuple]) -> bytes:
    for kind, place, what in edits:
        before, after = content[:place], content[place:]
        if kind == "flip":
            content = before + bytes([after[0] ^ what]) + after[1:] if after else before
        elif kind == "cut":
            content = before
        elif kind == "drop":
            content = before + after[what:]
        elif kind == "double":
            content = before + after[:what] + after
        else:
            content = before + what + (after[len(what) :] if kind == "over" else after)
    return content


def fuzzed(test: Test) -> Test:
    """A test of four times the profile's examples: 100, always the same; --hypothesis-profile=deep: 4,000 others."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=4 * settings.default.max_examples, suppress_health_check=checks)(test)
