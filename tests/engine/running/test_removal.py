"""What no longer counts goes, in an order that may end anywhere; all else stays, and boards are as they were."""

import os

import pytest
from run_folder import predictions_of

from mergebench.measuring.results import ResultStore
from mergebench.running import removal
from mergebench.running.removal import KINDS, removable, remove


@pytest.fixture
def untidy(folder):
    """A folder with something of every kind; gives the places that are to stay and those that may go, in order."""
    old, older_code = folder.put("mine", source="old"), folder.put("mine", source="older", seed=1)
    failed = folder.put("mine", source="old", seed=2, status="failed", error="no", merge=None, evaluation=None)
    kept = [folder.put("mine", source="new"), folder.put("other")]
    orphan = predictions_of(folder.put("orphan"))
    (folder.out / orphan.replace(".npz", ".json")).unlink()
    stay = {*kept, *map(predictions_of, kept), failed, folder.file("notes.txt"), folder.file("cells/two/x.npz")}
    stay |= {folder.trials(), folder.settings(), folder.file("site/index.html")}
    go = [old, predictions_of(old), older_code, predictions_of(older_code), orphan]
    go += [folder.file("set-aside/two/mine.json"), folder.file("cells/two/.mine.json.abcd_123")]
    return stay, [*go, folder.lease(age=1000)]


def everything(plan):
    return [file for kind in KINDS for file in plan.files.get(kind, [])]


def test_what_no_longer_counts_goes_and_all_else_stays(folder, untidy, aged):
    stay, go = untidy
    aged()
    audit = folder.look()
    plan = removable(audit)
    assert [file.place for file in everything(plan)] == go
    assert any("failed cells stay" in sentence for sentence in plan.kept)
    gone, size, told = remove(audit, everything(plan))
    assert (gone, told) == (len(go), []) and size == sum(file.size for file in everything(plan))
    assert folder.there() == stay
    again = folder.look()
    assert again.well and not everything(removable(again))


def test_wherever_it_ends_no_result_is_left_without_predictions(folder, untidy, aged):
    aged()
    for file in everything(removable(folder.look())):
        assert remove(folder.look(), [file])[0] == 1
        assert not folder.look().faults
        assert ResultStore(folder.out).survey()[1] == []


def test_what_is_younger_than_a_minute_stays(folder, untidy):
    stay, go = untidy
    plan = removable(folder.look())
    assert [file.place for file in everything(plan)] == [go[-1]]  # the lease is that old
    assert any("less than 60 s ago" in sentence for sentence in plan.kept)


def test_while_a_lease_is_held_results_stay(folder, untidy, aged):
    _, go = untidy
    aged()
    folder.lease("held")
    plan = removable(folder.look())
    assert [file.place for file in everything(plan)] == go[5:]
    assert sum("a run is at work" in sentence for sentence in plan.kept) == 2


def test_kinds_may_be_kept_and_failures_given_up(folder, untidy, aged):
    _, go = untidy
    aged()
    audit = folder.look()
    assert everything(removable(audit, keep=KINDS)) == []
    assert [f.place for f in everything(removable(audit, keep=[removal.SUPERSEDED]))] == go[4:]
    assert len(everything(removable(audit, failures=True))) == len(go) + 1


def test_a_file_that_is_another_by_now_stays(folder, untidy, aged):
    aged()
    audit = folder.look()
    files = everything(removable(audit))
    path = folder.out / files[0].place
    path.write_text(path.read_text() + " ")
    gone, _, told = remove(audit, files[:1])
    assert gone == 0 and path.exists() and "has changed since" in told[0]


@pytest.mark.parametrize("link", ["the file", "its folder"])
def test_nothing_is_removed_through_a_link_that_came_meanwhile(folder, untidy, aged, tmp_path, link):
    aged()
    audit = folder.look()
    (file,) = audit.of("set aside")
    outside = tmp_path / "outside"
    path = folder.out / file.place
    if link == "the file":
        outside.mkdir()
        path.rename(outside / path.name)
        path.symlink_to(outside / path.name)
    else:
        path.parent.rename(outside)
        path.parent.symlink_to(outside)
    gone, _, told = remove(audit, [file])
    assert gone == 0 and (outside / path.name).exists() and len(told) == 1


def test_what_somebody_else_has_removed_is_no_fault(folder, untidy, aged):
    aged()
    audit = folder.look()
    (file,) = audit.of("set aside")
    (folder.out / file.place).unlink()
    assert remove(audit, [file]) == (0, 0, [])


def test_what_cannot_be_removed_is_told_and_the_rest_goes(folder, untidy, aged, monkeypatch):
    aged()
    audit = folder.look()
    files = everything(removable(audit))
    real = os.unlink

    def unlink(name, **options):
        if name == files[0].place.rpartition("/")[2]:
            raise PermissionError(13, "Permission denied")
        real(name, **options)

    monkeypatch.setattr(os, "unlink", unlink)
    gone, _, told = remove(audit, files)
    assert gone == len(files) - 1 and told == [f"{files[0].place} is not removed: Permission denied"]
