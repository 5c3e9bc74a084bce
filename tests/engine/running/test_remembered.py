"""A plan that is remembered says what the plan says, and no longer than all that it rests on stays as it is."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from mergebench import tasks
from mergebench.data.image_cache import cache_root
from mergebench.errors import tell
from mergebench.measuring.results import ResultStore
from mergebench.running import remembered
from mergebench.running.observer import Observer
from mergebench.running.plan import RunRequest, make_plan
from mergebench.running.remembered import recalled, remembering
from mergebench.running.runner import look, run

pytestmark = pytest.mark.usefixtures("few_images")

WEIGHTS = Path(tasks.__file__).parent / "tiny" / "weights"
BASE = "base.safetensors"


@pytest.fixture
def request_of(tmp_path, write, monkeypatch):
    """A request on a copy of the tiny zoo's weights, as a process asks that was started after everything was made."""
    root = tmp_path / "zoo"
    for name in (
        BASE,
        *(f"{kind}/{task}.safetensors" for kind in ("experts", "heads") for task in ("digits", "signs")),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(WEIGHTS / name, root / name)
    monkeypatch.setattr("psutil.Process.create_time", lambda self: float("inf"))
    suite = write("suite", title="t", zoo="tiny", merge=["digits", "signs"])

    def asked(*methods, **fields):
        return RunRequest(methods or ("average", "ties"), suite, zoo_root=str(root), **fields)

    return asked


def facts(cell):
    """All that results, tables and the terminal take of a cell."""
    variant = cell.variant
    card, needs = cell.card, cell.needs
    reference = (variant.reference or variant).name
    shown = variant.name, variant.evaluate, reference, card.name, card.title, card.role, card.path, needs, cell.engine
    return cell.key.digest, json.dumps(vars(cell.key), default=str, sort_keys=True), shown, dict(cell.place), cell.seed


def test_it_is_what_a_plan_is_for_results_and_for_people(request_of, write):
    study = write(
        "study",
        title="t",
        suite=request_of().suite,
        methods=["regmean", "average"],
        seeds=[0, 1],
        hyperparameters={"regmean": {"samples": 2}},
        vary={"alpha": [0.1, 1.0], "restrict.blocks": [[0, 1], "all"]},
    )
    for request in (
        request_of(),
        request_of("slerp", "dare", "average"),
        replace(request_of(), methods=(), study=study),
    ):
        assert recalled(request) is None
        made = remembering(request, make_plan)
        known = recalled(request)
        assert known is not None and list(map(facts, known.cells)) == list(map(facts, made.cells))
        for name in ("name", "device", "precision", "devices", "left_out", "code", "told"):
            assert getattr(known, name) == getattr(made, name)
        assert [c.card is known.cells[0].card for c in known.cells] == [
            c.card is made.cells[0].card for c in made.cells
        ]


def test_a_finished_run_leaves_the_same_files_by_it_as_by_the_plan(request_of, tmp_path):
    store = ResultStore(tmp_path / "out")
    made = remembering(request_of(), make_plan)
    run(made, store)

    def again(plan):
        assert run(plan, store, Observer(), None, look(plan, store)).reused == 3
        contents = [json.loads(path.read_text()) for path in sorted(store.out.glob("cells/*/*.json"))]
        return [{n: v for n, v in content.items() if n not in ("asked", "checksum")} for content in contents]

    assert again(recalled(request_of())) == again(made)
    assert len(store.survey()[0]) == 3  # which prove themselves


def other_values(path):
    """As many bytes, the time of writing set back: what a copy that keeps times leaves."""
    before = path.stat()
    save_file({name: tensor * 1.0001 for name, tensor in load_file(path).items()}, path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = {
    "the base": lambda folder, request: other_values(folder / "zoo" / BASE),
    "an expert": lambda folder, request: other_values(folder / "zoo/experts/digits.safetensors"),
    "a head": lambda folder, request: other_values(folder / "zoo/heads/signs.safetensors"),
    "a config.json beside it": lambda folder, request: (folder / "zoo/config.json").write_text("{}"),
    "the suite": lambda folder, request: Path(request.suite).write_text(
        Path(request.suite).read_text().replace("title: t", "title: u")
    ),
    "the images": lambda folder, request: next(cache_root().glob("images/digits-*/test.json")).touch(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_whatever_it_rests_on_makes_another_plan(request_of, tmp_path, monkeypatch, change):
    monkeypatch.setenv("MERGEBENCH_CACHE", str(tmp_path / "cache"))  # the tests' own has other images of these tasks
    request = request_of()
    remembering(request, make_plan)
    assert recalled(request) is not None
    change(tmp_path, request)
    assert recalled(request) is None


def test_a_joint_model_that_comes_to_a_zoo_is_seen_where_one_is_asked_for(request_of, tmp_path):
    request = request_of("references")
    assert "multitask is left out" in remembering(request, make_plan).left_out[0]
    assert recalled(request) is not None
    (tmp_path / "zoo/joint").mkdir()
    assert recalled(request) is None


def test_another_request_is_another_plan(request_of, monkeypatch, tmp_path):
    remembering(request_of(), make_plan)
    for other in (
        request_of("average"),
        request_of(seeds=[1]),
        request_of(hyperparameters={"ties": {"density": 0.3}}),
        request_of(precision="bfloat16"),
        replace(request_of(), zoo_root=None),
    ):
        assert recalled(other) is None
    assert recalled(replace(request_of(), download=False)) is not None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert recalled(request_of()) is None
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.chdir(tmp_path)
    assert recalled(request_of()) is None


def test_a_method_of_ones_own_is_read_again_when_it_or_what_lies_beside_it_is_another(request_of, tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    mine = folder / "mine.py"
    mine.write_text(
        "from mergebench import merge_method\n\n@merge_method('mine', title='Mine')\ndef mine(pool):\n"
        "    return pool.map_experts(lambda experts: experts.mean(0))\n"
    )
    request = request_of(f"{mine}:mine")
    remembering(request, make_plan)
    assert recalled(request) is not None
    (folder / "helper.py").write_text("")
    assert recalled(request) is None
    (folder / "helper.py").unlink()
    assert recalled(request) is not None
    mine.write_text(mine.read_text().replace("mean(0)", "amax(0)"))
    assert recalled(request) is None


def test_code_that_is_younger_than_the_process_is_not_vouched_for(request_of, monkeypatch):
    monkeypatch.setattr("psutil.Process.create_time", lambda self: 0.0)
    remembering(request_of(), make_plan)
    assert recalled(request_of()) is None


def test_what_is_not_all_on_this_disk_is_not_remembered(own, monkeypatch):
    monkeypatch.setattr("psutil.Process.create_time", lambda self: float("inf"))
    own.trained()
    request = RunRequest(["average"], own.suite)
    plan = remembering(request, make_plan)
    assert plan.told and recalled(request) is None


def test_what_was_told_is_told_again(request_of, caplog):
    def telling(request):
        tell("the experts look odd")
        return make_plan(request)

    remembering(request_of(), telling)
    caplog.clear()
    assert recalled(request_of()) is not None
    assert [record.getMessage() for record in caplog.records] == ["the experts look odd"]


def test_a_file_that_is_damaged_or_of_another_version_is_none(request_of):
    remembering(request_of(), make_plan)
    (file,) = cache_root().glob(f"plans/{remembered._place(request_of()).name}")
    whole = file.read_text()
    for broken in ("", whole[:-9], "[]", "{}", whole.replace('"device": "cpu"', '"device": "gpu"')):
        file.write_text(broken)
        assert recalled(request_of()) is None
    file.write_text(whole)
    assert recalled(request_of()) is not None


def test_the_oldest_make_room(request_of, monkeypatch, tmp_path):
    monkeypatch.setenv("MERGEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remembered, "KEPT", 2)
    for seed in range(4):
        remembering(request_of("average", seeds=[seed]), make_plan)
    assert [recalled(request_of("average", seeds=[seed])) is not None for seed in range(4)] == [
        False,
        False,
        True,
        True,
    ]


WATCHED = """
import os, sys
from mergebench.running import plan, planned
from mergebench.weights.footing import noting

opened, on = set(), False

def watch(event, arguments):
    if on and event == "open" and isinstance(arguments[0], (str, os.PathLike)):
        opened.add(os.path.abspath(arguments[0]))

sys.addaudithook(watch)
request = planned.RunRequest(["all"], sys.argv[1], zoo_root=sys.argv[2])
plan.make_plan(request)  # imports, and makes images
on = True
with noting() as footing:
    plan.make_plan(request)
on = False
code = (".py", ".pyc", ".so", ".dist-info/METADATA", "entry_points.txt")
for path in sorted(opened - set(footing.marks)):
    if not path.endswith(code) and not path.startswith(("/proc", "/sys", "/dev", "/usr/lib", "/etc")):
        print(path)
print("seen", len(opened & set(footing.marks)))
"""


@pytest.mark.long
def test_nothing_is_read_for_a_plan_that_is_not_noted(request_of):
    """A real plan is watched: all that Python opens while it is made is among what is noted."""
    command = [sys.executable, "-c", WATCHED, request_of().suite, request_of().zoo_root]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *unnoted, seen = done.stdout.splitlines()
    assert unnoted == [] and int(seen.split()[1]) > 50, done.stdout
