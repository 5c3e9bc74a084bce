"""Labels in the card's order: by name, whatever the data's order, and never by luck."""

import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mergebench.data.labels import numbered, order, renumbered, two_orders
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


DIGITS = [str(digit) for digit in range(10)]
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def test_numbers_that_the_classes_are_called_mean_these_and_not_their_places():
    assert order(None, [0, 1], ("1", "0")).tolist() == [1, 0]
    assert order(None, range(10), DIGITS).tolist() == list(range(10))
    assert order(None, [1, 2, 3], ("1", "2", "3")).tolist() == [-1, 0, 1, 2]
    assert order(None, [0, 1], ["cat", "dog"], ["1", "0"]).tolist() == [1, 0]
    assert order(None, range(1, 11), DIGITS, ["10", *DIGITS[1:]]).tolist() == [-1, *range(1, 10), 0]
    assert order(None, [3, 7, 9], CLASSES, ["3", "7", ["nine", "9"]])[[3, 7, 9]].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "classes", [DIGITS, ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]]
)
@pytest.mark.parametrize("names", [None, [f"digit {n}" for n in range(1, 11)], [f"{n:02}" for n in range(1, 11)]])
def test_labels_from_1_to_10_of_the_digits_0_to_9_are_refused_not_one_off(classes, names):
    used = range(1, 11) if names is None else range(10)
    with pytest.raises(MergebenchError) as caught:
        order(names, used, classes)
    assert "under `labels`" in str(caught.value) or "the card has no class '10'" in str(caught.value)


@pytest.mark.parametrize(
    ("classes", "also", "told"),
    [
        (["1", "01"], (), "'1' and '01' both mean the number 1"),
        (["seven", "7 - seven"], (), "'seven' and '7 - seven' both mean the number 7"),
        (["rose", "tulip", "oak"], ["3", ["4", "9"], ["five", "9"]], "'tulip' and 'oak' both mean the number 9"),
    ],
)
def test_two_classes_of_one_number_are_refused_with_both(classes, also, told):
    with pytest.raises(MergebenchError, match=rf"classes {told}; give one of them another \(`classes`, `labels`\)"):
        order(None, range(len(classes)), classes, also)


def test_words_for_bare_numbers_leave_them_in_the_order_of_the_classes():
    assert order(None, [0, 1, 2], CLASSES, ["Quercus", "Tulipa", "Rosa"]).tolist() == [0, 1, 2]


@pytest.mark.parametrize("names", [["A", "a", "B", "b"], ["C", "C++", "C#"], ["T-shirt", "t shirt"], ["1", "-1"],
                                   ["İ", "i"], ["कि", "का", "क"], ["น้ำ", "นำ"], ["か\u3099", "か"], ["A\u0308", "A"],
                                   ["كَتَبَ", "كُتُب"], ["কি", "কী"]])  # fmt: skip
def test_names_that_differ_by_case_signs_or_marks_alone_are_different(names):
    assert order(names[::-1], range(len(names)), names).tolist() == list(range(len(names)))[::-1]


def test_a_spelling_that_is_close_to_two_classes_is_refused_with_both():
    with pytest.raises(MergebenchError, match=r"'c#' may be class 'C' or 'C\+\+'; write its name under `labels`"):
        order(["C", "c#"], [0, 1], ["C", "C++"])
    assert order(["c", "c#"], [0, 1], ["C", "C++"], ["C", "C#"]).tolist() == [0, 1]


def test_both_forms_of_one_name_are_one():
    assert order(["Cafe\u0301", "Rose\u0301"], [0, 1], ["Rosé", "Café"]).tolist() == [1, 0]


def test_a_number_for_which_a_billion_classes_would_be_made_is_refused():
    with pytest.raises(MergebenchError, match="label 1000000000: labels that are numbers stay below 1,000,000"):
        order(None, [0, 10**9], CLASSES)


def test_it_is_known_where_numbers_are_read_otherwise_than_by_counting():
    assert renumbered(None, [0, 1], ("1", "0")) and not renumbered(None, [0, 1], ("0", "1"))
    assert not renumbered(None, [1, 2, 3], ("1", "2", "3")) and not renumbered(["0", "1"], [0, 1], ("1", "0"))
    assert numbered(("1", "0")) and not numbered(("0", "1")) and not numbered(("zero", "one")) and not numbered(CLASSES)
    assert two_orders(["1", "10", "2"]) and not two_orders(["01", "02", "10"]) and not two_orders(["a1", "b10", "c2"])
