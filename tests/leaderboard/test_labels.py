"""What rows are called: no more than tells them apart."""

from mergebench.leaderboard.labels import Named, told_apart


def test_only_what_differs_among_rows_of_one_method_is_told_in_each_rows_own_order():
    entries = [
        Named("m", "M", {"b": 1, "a": 1, "same": 0}, {}),
        Named("m", "M", {"a": 1, "b": 2, "same": 0}, {}),
        Named("m", "M", {"same": 0, "b": 1, "new": None}, {}),
        Named("n", "N", {"a": 7, "b": 7}, {}),
    ]
    assert told_apart(entries) == ["M (b=1, a=1)", "M (a=1, b=2)", "M (b=1)", "N"]


def test_what_a_search_chose_is_told_first_and_of_one_row_alone():
    record = {"space": {"b": [0, 1], "gone": [0, 1]}}
    assert told_apart([Named("m", "M", {"a": 1, "b": 2}, record)]) == ["M (tuned: b=2)"]
    assert told_apart([Named("m", "M", {"a": 1}, record), Named("m", "M", {"a": 2}, {})]) == [
        "M (tuned: a=1)",
        "M (a=2)",
    ]


def test_of_many_tuned_methods_what_was_chosen_is_left_to_the_pages():
    record = {"space": {"a": [0, 1]}}
    many = [Named(name, name.upper(), {"a": 1}, record) for name in "klmn"]
    published = [Named(name, name.upper(), {"a": 2}, {}) for name in "klmn"]
    assert told_apart([*many, *published]) == ["K (tuned)", "L (tuned)", "M (tuned)", "N (tuned)", "K", "L", "M", "N"]
    again = [Named("m", "M", {"a": 3}, record), Named("n", "N", {"a": 4}, {})]
    labels = told_apart([*many, *published, *again])
    assert labels[2] == "M (tuned: a=1)" and labels[-2] == "M (tuned: a=3)" and labels[6] == "M"
    assert labels[3] == "N (tuned)" and (labels[7], labels[-1]) == ("N (a=2)", "N (a=4)")
    assert len(set(labels)) == len(labels)


def test_what_somebody_gave_is_told_of_one_row_alone_too():
    settings, record = {"a": 1, "b": 2}, {"space": {"a": [0, 1]}}
    given = Named("m", "M", settings, {}, {"b": 3, "gone": 1})
    assert told_apart([given]) == ["M (b=2)"]
    many = [Named(name, name.upper(), {"a": 1, "b": 1}, record) for name in "klmn"]
    assert told_apart([*many, given])[-1] == "M (b=2)"
