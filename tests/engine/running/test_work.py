"""What is handed out, what others have done meanwhile, and what is tried again."""

from types import SimpleNamespace

import pytest

from mergebench.running.groups import Group
from mergebench.running.leases import Leases
from mergebench.running.work import ASKED, ENDS, Work


def cell(name):
    return SimpleNamespace(key=SimpleNamespace(digest=name))


class Store:
    """Where a cell's file is called as the cell is; results are put there by hand."""

    def __init__(self):
        self.results = {}

    def path(self, key):
        return SimpleNamespace(stem=key.digest)

    def latest(self, key):
        return self.results.get(key.digest)


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def of(tmp_path, store):
    """Makes work of a run of its own on the one folder."""
    opened = []

    def make(*groups, since="2026-01-01T00:00:00.000+00:00"):
        opened.append(Leases(tmp_path / "leases"))
        return Work([Group(tuple(map(cell, names))) for names in groups], store, opened[-1], since)

    yield make
    for leases in opened:
        leases.close()


def names(group):
    return [cell.key.digest for cell in group.cells] if group else None


def test_two_runs_draw_everything_once_and_wait_for_each_other(of, store):
    one, other = of("ab", "c"), of("c", "ab")
    first, second = one.draw(), other.draw()
    assert (names(first), names(second)) == (["a", "b"], ["c"])
    assert one.draw() is None and other.draw() is None and one.left and other.left
    for cell_ in first.cells:
        store.results[cell_.key.digest] = SimpleNamespace(status="ok", asked="")
        one.release(cell_)
    assert other.draw() is None and not other.left
    assert [(c.key.digest, r.status) for c, r in other.found()] == [("a", "ok"), ("b", "ok")]
    assert list(other.found()) == []
    other.release(second.cells[0])
    assert names(one.draw()) == ["c"]  # the other has given it up without a result


def test_of_a_group_that_is_partly_held_the_rest_is_drawn_and_the_part_looked_at_again(of):
    one, other = of("b"), of("abc")
    assert names(one.draw()) == ["b"]
    assert names(other.draw()) == ["a", "c"] and other.left
    assert other.draw() is None


@pytest.mark.parametrize(("asked", "tried"), [("2025-12-31T23:59:59.000+00:00", True), ("2026-01-02", False)])
def test_what_failed_elsewhere_since_this_run_began_is_not_tried_again(of, store, asked, tried):
    store.results["a"] = SimpleNamespace(status="failed", asked=asked)
    work = of("a")
    assert (work.draw() is not None) == tried
    assert len(list(work.found())) == (not tried)


def test_what_ends_its_process_is_tried_so_often_and_the_rest_of_its_group_goes_on(of):
    work = of("abc")
    for _ in range(ENDS - 1):
        assert work.again(work.draw().cells)
    group = work.draw()
    assert names(group) == ["a", "b", "c"] and not work.again(group.cells)
    assert names(work.draw()) == ["b", "c"] and not work.left


def test_a_folder_full_of_held_cells_is_not_asked_for_all_at_a_time(of, monkeypatch):
    held, work = of(*(f"{n}x" for n in range(2 * ASKED))), of(*(f"{n}x" for n in range(2 * ASKED)))
    while held.draw():
        pass
    asked = []
    monkeypatch.setattr(Leases, "claim", lambda self, name: asked.append(name))
    assert work.draw() is None and len({*asked}) <= 2 * ASKED and len(asked) < 3 * ASKED
