"""Looking through a run's folder: everything is counted, nothing is taken for what it is not, nothing is changed."""

import json
import os
import subprocess
import sys

import pytest
from run_folder import predictions_of

from mergebench.errors import MergebenchError
from mergebench.running import contents as kinds
from mergebench.running.contents import kind_of
from mergebench.running.holders import this_process


def test_a_folder_in_which_all_is_well(folder):
    folder.put("mine")
    folder.put("other", seed=1)
    folder.put("broken", status="failed", error="no", merge=None, evaluation=None)
    folder.trials()
    folder.settings()
    before = {place: (folder.out / place).read_bytes() for place in folder.there()}
    found = folder.look()
    assert found.well and not (found.faults or found.orphans or found.superseded or found.abandoned)
    assert found.counts == {
        "well": 3,
        "proven": 3,
        "from before there was proof": 0,
        "failed": 1,
        "superseded": 0,
        "not well": 0,
    }
    numbers = {kind: number for kind, (number, _) in found.sizes().items()}
    assert numbers == {kinds.RESULT: 3, kinds.PREDICTIONS: 2, kinds.TRIALS: 1, kinds.SETTINGS: 1}
    assert sum(size for _, size in found.sizes().values()) == sum(map(len, before.values()))
    assert before == {place: (folder.out / place).read_bytes() for place in folder.there()}


def test_results_that_no_board_shows_are_superseded_the_oldest_first(folder):
    old = folder.put("mine", source="old")
    older_of_another = folder.put("other", source="old")
    folder.put("mine", source="new")
    folder.put("other", source="new")
    assert folder.look().superseded == [old, older_of_another]


def test_what_is_damaged_is_told_with_its_reason(folder):
    changed, lost, trials = folder.put("changed"), folder.put("lost"), folder.trials()
    settings = folder.file("settings/mine.yaml", "suite: [1]\n")
    garbage = folder.file("cells/two/garbage.json", "{")
    path = folder.out / changed
    path.write_text(path.read_text().replace('"title": "Changed"', '"title": "Best"'))
    (folder.out / predictions_of(lost)).unlink()
    (folder.out / trials).write_text((folder.out / trials).read_text().replace('"x": 1', '"x": 2'))
    found = folder.look()
    assert not found.well and found.faults.keys() == {changed, lost, trials, settings, garbage}
    assert "checksum" in found.faults[changed] and "missing" in found.faults[lost]
    assert "checksum" in found.faults[trials] and "suite" in found.faults[settings]
    assert found.counts["not well"] == 3
    assert not any(str(folder.out) in reason for reason in found.faults.values())


def test_predictions_without_a_result_and_files_of_killed_processes(folder, aged):
    place = folder.put()
    (folder.out / place).unlink()
    begun = [
        folder.file("cells/two/.mine-s0-0123456789ab.json.abcd_123"),
        folder.file("cells/.any.abcd_123"),
        folder.file("tuning/two/.mine.json.abcd_123"),
        folder.file("site/.index.html.abcd_123"),
    ]
    folder.file("cells/two/.notes.abcd_123")  # of nobody whom we know
    folder.file(".bashrc.original")
    young = folder.look()
    assert young.well and not (young.orphans or young.abandoned)  # a run may be writing them
    aged()
    found = folder.look()
    assert found.orphans == [predictions_of(place)] and not found.well
    assert found.abandoned == sorted(begun)
    assert {file.place for file in found.of(kinds.UNKNOWN)} == {"cells/two/.notes.abcd_123", ".bashrc.original"}


def test_leases_are_held_until_they_were_not_renewed_for_as_long_as_they_say(folder):
    held = [folder.lease("a"), folder.lease("b", ttl=1000, age=900), folder.lease("c", age=150)]
    damaged = folder.file("leases/d.lease", "{")
    nan = folder.file("leases/e.lease", '{"ttl": NaN}')
    found = folder.look()
    assert found.held == [*held, damaged] and found.lapsed == [nan]


def test_a_lease_whose_process_has_ended_has_lapsed_at_once(folder):
    code = "import json; from mergebench.running.holders import this_process; print(json.dumps(this_process()))"
    ended = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    gone = folder.file("leases/a.lease", json.dumps(ended | {"ttl": 120}))
    mine = folder.file("leases/b.lease", json.dumps(this_process() | {"ttl": 120}))
    found = folder.look()
    assert (found.held, found.lapsed) == ([mine], [gone])


def test_no_link_is_followed(folder, tmp_path):
    place = folder.put()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.json").write_text("{}")
    (folder.out / "cells" / "linked").symlink_to(outside)
    (folder.out / "cells/two/linked.json").symlink_to(outside / "secret.json")
    (folder.out / "tuning").symlink_to(outside)
    found = folder.look()
    assert {file.place for file in found.of(kinds.LINK)} == {"cells/linked", "cells/two/linked.json", "tuning"}
    assert list(found.results) == [place] and found.well


def test_predictions_beside_a_link_are_not_without_a_result(folder, tmp_path, aged):
    path = folder.out / folder.put()
    path.rename(tmp_path / path.name)
    path.symlink_to(tmp_path / path.name)
    aged()
    assert folder.look().orphans == []


def test_pipes_and_names_that_act_on_a_terminal_are_not_known(folder):
    folder.put()
    os.mkfifo(folder.out / "cells/two/pipe.json")
    folder.file("notes\x1b[31m\n.txt")
    os.close(os.open(os.fsencode(folder.out) + b"/\xff.json", os.O_CREAT))
    found = folder.look()
    assert len(found.of(kinds.UNKNOWN)) == 3 and found.well
    json.dumps(found.as_json()).encode("ascii")


def test_many_empty_files_are_counted(folder):
    folder.put()
    (folder.out / "junk").mkdir()
    for number in range(5000):
        os.close(os.open(folder.out / f"junk/{number}", os.O_CREAT))
    assert folder.look().sizes()[kinds.UNKNOWN] == (5000, 0)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    from run_folder import RunFolder

    with pytest.raises(MergebenchError, match="no such folder"):
        RunFolder(tmp_path / "none").look()


KINDS = {
    "cells/two/mine-s0-0123456789ab.json": kinds.RESULT,
    "cells/two/mine-s0-0123456789ab.npz": kinds.PREDICTIONS,
    "cells/two/mine.npz": kinds.UNKNOWN,
    "cells/mine.json": kinds.UNKNOWN,
    "cells/two/deep/mine.json": kinds.UNKNOWN,
    "tuning/two/mine.json": kinds.TRIALS,
    "tuning/two-z-best-of-n.csv": kinds.PAGES,
    "settings/two-z.yaml": kinds.SETTINGS,
    "settings/two-z.yml": kinds.UNKNOWN,
    "set-aside/two/mine.1.npz": kinds.SET_ASIDE,
    "leases/mine.lease": kinds.LEASE,
    f"leases/.mine.lease.{'0a' * 16}.away": kinds.TEMPORARY,
    "leases/.mine.lease.abcd_123": kinds.TEMPORARY,
    "leases/.mine.abcd_123": kinds.UNKNOWN,
    "site/data/two.js": kinds.PAGES,
    "inspect/tiny/angles-dark.png": kinds.PAGES,
    "compare/two.png": kinds.PAGES,
    "merged.safetensors": kinds.UNKNOWN,
    "MANIFEST.json": kinds.ARCHIVE,
    "cells/MANIFEST.json": kinds.UNKNOWN,
}


@pytest.mark.parametrize("place", KINDS)
def test_a_kind_is_known_from_place_and_name(place):
    assert kind_of(tuple(place.split("/"))) == KINDS[place]
