"""What rows are called: no more than tells them apart."""

from mergebench.leaderboard.labels import told_apart


def test_only_what_differs_among_rows_of_one_method_is_told_in_each_rows_own_order():
    entries = [
        ("m", "M", {"b": 1, "a": 1, "same": 0}, {}),
        ("m", "M", {"a": 1, "b": 2, "same": 0}, {}),
        ("m", "M", {"same": 0, "b": 1, "new": None}, {}),
        ("n", "N", {"a": 7, "b": 7}, {}),
    ]
    assert told_apart(entries) == ["M (b=1, a=1)", "M (a=1, b=2)", "M (b=1)", "N"]


def test_what_a_search_chose_is_told_first_and_of_one_row_alone():
    record = {"space": {"b": [0, 1], "gone": [0, 1]}}
    assert told_apart([("m", "M", {"a": 1, "b": 2}, record)]) == ["M (tuned: b=2)"]
    assert told_apart([("m", "M", {"a": 1}, record), ("m", "M", {"a": 2}, {})]) == ["M (tuned: a=1)", "M (a=2)"]
