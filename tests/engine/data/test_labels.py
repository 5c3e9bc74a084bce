"""Labels in the card's order: by name, whatever the data's order, and never by luck."""

import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mergebench.data.labels import order
from mergebench.errors import MergebenchError

CLASSES = ("oak tree", "tulip", "rose")
NAMES = st.lists(
    st.text(string.ascii_letters + string.digits + " _-/", min_size=1).filter(lambda n: any(map(str.isalpha, n))),
    min_size=1,
    max_size=8,
    unique_by=lambda n: "".join(c for c in n.lower() if c.isalnum()),
)


@given(NAMES, st.randoms(use_true_random=False))
def test_any_order_and_spelling_of_the_names_comes_to_the_cards_order(classes, random):
    there = random.sample(range(len(classes)), len(classes))
    names = [classes[i].upper().replace(" ", "_").replace("-", "") for i in there]
    assert order(names, range(len(names)), classes).tolist() == there


@given(NAMES, st.data())
def test_a_name_without_partner_is_never_matched(classes, data):
    place = data.draw(st.integers(0, len(classes) - 1))
    names = [*classes]
    names[place] = "quite another"
    with pytest.raises(MergebenchError) as caught:
        order(names, range(len(names)), classes)
    assert "the card has no class 'quite another'" in str(caught.value)
    assert f"the data have no class {classes[place]!r}" in str(caught.value)


def test_the_names_that_data_have_for_classes_are_accepted_beside_the_cards():
    also = ["Quercus", ["t.", "Tulipa"], "Rosa"]
    assert order(["Tulipa", "rose", "QUERCUS"], [0, 1, 2], CLASSES, also).tolist() == [1, 2, 0]
    assert order(["T", "Oak-Tree", "rosa"], [0, 1, 2], CLASSES, also).tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["0", "1", "2"], [0, 1, 2]),
        (["1", "2", "3"], [0, 1, 2]),
        (["2", "0", "1"], [2, 0, 1]),
        (["class_02", "class_00", "class_01"], [2, 0, 1]),
        (["Label 3", "label 1", "label 2"], [2, 0, 1]),
        (["0", "2"], [0, 2]),
    ],
)
def test_names_that_only_count_are_ids(names, expected):
    assert order(names, range(len(names)), CLASSES).tolist() == expected


def test_numbers_that_are_the_classes_own_names_are_names():
    assert order(["1", "0", "2"], [0, 1, 2], ("0", "1", "2")).tolist() == [1, 0, 2]
    with pytest.raises(MergebenchError, match="the card has no class '3'; the data have no class '0'"):
        order(["1", "2", "3"], [0, 1, 2], ("0", "1", "2"))


@pytest.mark.parametrize(
    "names", [["0", "1", "3"], ["1", "2"], ["class_0", "klass_1", "class_2"], ["n02119789", "n02119790", "n02119791"]]
)
def test_counters_that_do_not_count_the_cards_classes_are_refused(names):
    with pytest.raises(MergebenchError, match="the data have no class 'oak tree', 'tulip', 'rose'"):
        order(names, range(len(names)), CLASSES)


@pytest.mark.parametrize(
    ("used", "expected"), [([0, 1, 2], [0, 1, 2]), ([1, 2, 3], [-1, 0, 1, 2]), ([0, 2], [0, -1, 2])]
)
def test_bare_numbers_are_ids_from_0_or_from_1(used, expected):
    assert order(None, used, CLASSES).tolist() == expected


@pytest.mark.parametrize("used", [[0, 1, 2, 3], [1, 2], [2, 3, 4], []])
def test_bare_numbers_of_another_range_are_refused(used):
    with pytest.raises(MergebenchError, match="labels without names run from .* the card's classes are 0 to 2"):
        order(None, used, CLASSES)


def test_labels_that_are_kept_secret_are_refused():
    for names in (None, CLASSES):
        with pytest.raises(MergebenchError, match="label -1: these labels are not public; name another split"):
            order(names, [-1, 0, 1, 2], CLASSES)


def test_a_name_that_no_image_bears_needs_no_class_but_a_class_needs_a_name():
    assert order(["N/A", "rose", "tulip", "oak tree"], [1, 2, 3], CLASSES).tolist() == [-1, 2, 1, 0]
    with pytest.raises(MergebenchError, match="the card has no class 'N/A'"):
        order(["N/A", "rose", "tulip", "oak tree"], [0, 1, 2, 3], CLASSES)
    with pytest.raises(MergebenchError, match="the data have no class 'oak tree'"):
        order(["rose", "tulip"], [0, 1], CLASSES)


def test_two_labels_of_one_class_are_refused():
    with pytest.raises(MergebenchError, match="the data's 'rose' and 'Rosa' are both class 'rose'"):
        order(["rose", "Rosa", "tulip", "oak tree"], [0, 1, 2, 3], CLASSES, [[], [], "rosa"])
    with pytest.raises(MergebenchError, match="'tulip' is a name of two classes: 'tulip', 'rose'"):
        order(["rose"], [0], CLASSES, [[], [], "tulip"])


def test_a_label_beyond_the_names_is_refused():
    with pytest.raises(MergebenchError, match="label 3, but the data name 3 classes"):
        order(CLASSES, [0, 3], CLASSES)


def test_many_names_without_partner_are_told_in_one_short_line():
    with pytest.raises(MergebenchError) as caught:
        order([f"a{c}" for c in string.ascii_lowercase], range(26), [f"b{c}" for c in string.ascii_lowercase])
    assert "'aa', 'ab', 'ac' and 23 more" in str(caught.value) and len(str(caught.value)) < 200


def test_ids_are_whole_numbers():
    assert order(CLASSES, [0, 1, 2], CLASSES).dtype == np.int64
