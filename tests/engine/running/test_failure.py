"""What a method raises, told in one line; an interrupt stays an interrupt."""

import pytest

from mergebench.catalogue import registry
from mergebench.errors import MergebenchError
from mergebench.running.failure import told_in_words


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, BaseException, ValueError])
def test_whatever_is_raised_is_one_line(odd, kind):
    told = f"^method 'odd' failed: {kind.__name__}: two lines; nothing is written$"
    with pytest.raises(MergebenchError, match=told), told_in_words(registry.method(odd)):
        raise kind("two\nlines")


def test_interrupts_and_our_own_errors_stay_what_they_are(odd):
    card = registry.method(odd)
    for error in (KeyboardInterrupt, MergebenchError):
        with pytest.raises(error, match="^as it is$"), told_in_words(card):
            raise error("as it is")
