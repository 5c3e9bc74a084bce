"""Pieces of work that write files: what is there before, what is done, and what is then found."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from mergebench.data.image_cache import load_split
from mergebench.data.task import ImageTable
from mergebench.measuring.proof import answers, count, write_predictions
from mergebench.measuring.results import CellKey, Cost, Environment, Result, ResultStore, TaskScore
from mergebench.tasks.tiny import TASKS
from mergebench.tuning import trials
from mergebench.weights.states import SafetensorsState, digest, save_state
from mergebench.zoo.heads import LinearHead
from mergebench.zoo.kept_heads import keep, kept

LABELS = {"a": np.arange(50) % 7}
PREDICTED = {"a": np.arange(50) % 5}
OTHER = "other"  # the method of a cell that was finished before


@dataclass(frozen=True)
class Piece:
    """A piece of work: what is there before, what is done, and what is there then, well, or None."""

    before: Callable[[Path], object]
    work: Callable[[Path], object]
    found: Callable[[Path], object]


def key_of(method: str) -> CellKey:
    return CellKey(method, "s", {}, {}, "two", "", "z", "", {}, 0, {}, {}, "cpu")


def measured(method: str, title: str = "new") -> Result:
    scores = {t: TaskScore(**count(PREDICTED[t], LABELS[t])._asdict()) for t in LABELS}
    where = Environment(device="cpu", precision="float32", threads=1, platform="p", packages={}, git_commit="")
    cost = Cost(seconds=1, peak_bytes=1)
    empty = {"hyperparameters": {}, "weights": {}, "data": {}, "drawn": {}, "needs": [], "variant": "", "paper": ""}
    named = {"method": method, "title": title, "role": "method", "family": "f", "source": "s", "suite": "two"}
    about = {"zoo": "z", "seed": 0, "environment": where, "started": "2026", "merge": cost, "evaluation": cost}
    return Result(status="ok", tasks=scores, **named, **about, **empty)


def store_of(folder: Path, *methods: str) -> ResultStore:
    store = ResultStore(folder / "out")
    for method in methods:
        store.write(key_of(method), measured(method, "old"), PREDICTED, LABELS)
    return store


def stored(folder: Path, method: str = "mine") -> "str | None":
    result = ResultStore(folder / "out").finished(key_of(method))
    return result and result.title


def spoilt(folder: Path) -> None:
    """A result that does not prove what it says, and another that does."""
    path = store_of(folder, "mine", OTHER).path(key_of("mine"))
    path.write_text(path.read_text().replace('"old"', '"best"'))


def write_result(folder: Path) -> None:
    if stored(folder) != "new":
        ResultStore(folder / "out").write(key_of("mine"), measured("mine"), PREDICTED, LABELS)


def aside(folder: Path) -> "str | None":
    """What of the spoilt result is kept, in its place or aside: both of its files, together."""
    places = [*(folder / "out" / "set-aside").glob("two/mine*.json"), ResultStore(folder / "out").path(key_of("mine"))]
    spoilt = [path for path in places if path.is_file() and json.loads(path.read_text())["title"] == "best"]
    assert len(spoilt) == 1
    moved = spoilt[0].parent.parent.name == "set-aside"
    assert not moved or answers(spoilt[0].with_suffix(".npz"), {"a": 50})
    return "aside" if moved else None


def replaced(folder: Path) -> "str | None":
    return stored(folder) and aside(folder)


def set_aside(folder: Path) -> None:
    store = ResultStore(folder / "out")
    if store.path(key_of("mine")).exists():
        store.set_aside(store.path(key_of("mine")))


def update(folder: Path) -> None:
    store = ResultStore(folder / "out")
    store.update(key_of("mine"), measured("mine").model_copy(update={"checksum": "-", "cell": key_of("mine").digest}))


def predictions(folder: Path) -> "bool | None":
    if not (folder / "x.npz").exists():
        return None
    return (answers(folder / "x.npz", {"a": 50})["a"][0] == PREDICTED["a"]).all()


def images(folder: Path, table: bool) -> "bytes | None":
    os.environ["MERGEBENCH_CACHE"] = str(folder)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    found = (pixels, np.arange(6) % 2)
    card = replace(TASKS["digits"].card, splits={"test": 6}, classes=("a", "b"))
    load = (lambda split: ImageTable(found[1], lambda i: pixels[i])) if table else (lambda split: found)
    split = load_split(replace(TASKS["digits"], card=card, load=load, fingerprint="test"), "test")
    assert (split.images == pixels).all() and (split.labels == found[1]).all()
    return split.digest


def tried(folder: Path, numbers: int) -> None:
    made = [trials.Trial(number=n, settings={"x": n / 7}, error="none") for n in range(numbers)]
    trials.write(folder / "tune" / "s.json", {"method": "m"}, made)


def number_tried(folder: Path) -> int:
    return len(trials.read(folder / "tune" / "s.json", {"method": "m"}, ["a"], lambda _: True)[0])


STATE = {"a": torch.arange(600.0).view(20, 30), "b": torch.ones(3)}
HEAD = LinearHead(torch.arange(12.0).view(3, 4), torch.ones(3))


def merged(folder: Path) -> "bool | None":
    if not (folder / "m.safetensors").exists():
        return None
    read = SafetensorsState(folder / "m.safetensors")
    assert digest(read) in (digest(STATE), digest({"a": torch.zeros(2)}))
    return digest(read) == digest(STATE) or None


def nothing(folder: Path) -> None:
    pass


PIECES = {
    "a result": Piece(lambda f: store_of(f, OTHER), write_result, stored),
    "a result over one that is set aside": Piece(spoilt, write_result, replaced),
    "what is known of a result": Piece(lambda f: store_of(f, "mine", OTHER), update, stored),
    "a result set aside": Piece(spoilt, set_aside, aside),
    "predictions": Piece(nothing, lambda f: write_predictions(f / "x.npz", PREDICTED, LABELS), predictions),
    "images, as arrays": Piece(nothing, lambda f: images(f, False), lambda f: images(f, False)),
    "images, one by one": Piece(nothing, lambda f: images(f, True), lambda f: images(f, True)),
    "trials": Piece(lambda f: tried(f, 2), lambda f: tried(f, 3), number_tried),
    "a merged model": Piece(
        lambda f: save_state({"a": torch.zeros(2)}, f / "m.safetensors"),
        lambda f: save_state(STATE, f / "m.safetensors", {"recipe": "{}"}),
        merged,
    ),
    "a head": Piece(
        nothing,
        lambda f: keep(HEAD, f / "h" / "x.safetensors"),
        lambda f: bool(kept(f / "h" / "x.safetensors", 4, 3)) or None,
    ),
}
# What is made anew when it is asked for: of these nothing is known before.
MADE_WHEN_ASKED = ("images, as arrays", "images, one by one")


def old_ones_lost(folder: Path) -> bool:
    """Whether what was finished before is gone."""
    return (folder / "out").exists() and stored(folder, OTHER) != "old"
