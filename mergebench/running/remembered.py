"""Plans that were made before: while all that a plan rests on is as it was, it need not be made again to be known.

Making one imports torch and timm and reads every tensor. Whether a run is finished follows from its cells' keys alone,
so these are kept, with a mark of every file that was read on the way. What cannot be marked is not remembered.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from glob import glob
from importlib.metadata import entry_points
from pathlib import Path
from platform import node
from typing import Any, NoReturn

import psutil

from mergebench.catalogue import registry
from mergebench.data.image_cache import cache_root
from mergebench.errors import MergebenchError, overheard, tell
from mergebench.measuring.keys import CellKey
from mergebench.merging.method import MethodCard, Needs
from mergebench.running import chosen
from mergebench.running.planned import Cell, Plan, RunRequest
from mergebench.suites.variant import Variant
from mergebench.weights.footing import Footing, noting, still_there
from mergebench.weights.reading import plain_text
from mergebench.weights.sealed import checksum
from mergebench.weights.writing import put_aside, writing

KEPT = 100  # plans; the oldest make room
BYTES = 64_000_000  # of one: a thousand cells take a few
INSTALLED = ("site-packages", "dist-packages")
GROUPS = ("mergebench.methods", "mergebench.tasks", "mergebench.corruptions", "mergebench.configs")
# Where devices show, and what chooses among them; a plan made for a GPU is no other machine's.
DEVICES = ("/dev/nvidia*", "/dev/kfd", "/dev/dxg")
CHOOSING = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "MERGEBENCH_CACHE")


def recalled(request: RunRequest) -> Plan | None:
    """The plan that was made of the same request, if nothing that it rests on has changed.

    It can be looked through, and not run. What was told when it was made is told again.
    """
    try:
        kept = json.loads(plain_text(_place(request), BYTES))
        if kept["checksum"] != checksum(kept) or not still_there(kept["marks"]):
            return None
        plan = _plan(kept)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):  # none, or another version's
        return None
    for sentence in kept["told"]:
        tell(sentence)
    return plan


def remembering(request: RunRequest, make: Callable[[RunRequest], Plan]) -> Plan:
    """Make a plan, and keep what of it a later run can use.

    Raises:
        MergebenchError: as `make` does; where it cannot be kept, nothing is.
    """
    place = _place(request)  # as it was asked for, before anything is imported that changes where things are
    told: list[str] = []
    with noting() as footing, overheard(told.append):
        plan = make(request)
    _note_code(footing)
    content = _content(plan)
    if footing.elsewhere or plan.told or content is None:
        return plan
    kept = {"marks": footing.marks, "told": list(dict.fromkeys(told)), **content}
    try:
        put_aside(place)
        with writing(place) as temporary:
            temporary.write_text(json.dumps(kept | {"checksum": checksum(kept)}), encoding="utf-8")
        older = sorted(place.parent.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)[:-KEPT]
        for path in older:
            path.unlink(missing_ok=True)
    except (MergebenchError, OSError):  # a cache that may only be read
        pass
    return plan


def _place(request: RunRequest) -> Path:
    """The file of a request's plan: its name is a hash of all that decides about a plan and is in no file.

    Whether something may be downloaded is not part of it, as no plan is remembered that has to do with the hub.
    """
    settings = {name: os.environ.get(name) for name in CHOOSING}
    entries = [(e.group, e.name, e.value) for group in GROUPS for e in entry_points(group=group)]
    about = [
        asdict(request) | {"download": None}, os.getcwd(), settings, sorted(entries), node(),
        sys.version, sys.prefix, sys.path, sorted(path for pattern in DEVICES for path in glob(pattern)),
    ]  # fmt: skip
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=repr).encode()).hexdigest()[:16]
    return cache_root() / "plans" / f"{digest}.json"


def _note_code(footing: Footing) -> None:
    """Note the code that a plan was made by: ours, and other people's that no release's name tells."""
    started = psutil.Process().create_time()
    files = [str(getattr(module, "__file__", None) or "") for module in list(sys.modules.values())]
    files += [card.path for card in registry.methods().values()]
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    library = os.path.dirname(os.path.abspath(os.__file__))
    for file in sorted(set(filter(os.path.isfile, files))):
        inside = set(Path(file).parts) & set(INSTALLED) or file.startswith(library)
        if file.startswith(own) or f"{os.sep}mergebench{os.sep}" in file or not inside:
            footing.add(file)
            if os.stat(file).st_ctime > started:
                footing.elsewhere = f"{file} may have changed since it was imported"
    folders: list[str | Path] = [folder for folder in sys.path if Path(folder).name in INSTALLED]
    kinds = (*registry.SINGULAR, chosen.KIND)
    folders += [file.parent for kind in kinds for file in registry.config_files(kind).values()]
    for folder in dict.fromkeys(folders):
        footing.add(folder, alone=True)


# The fields of a key that most cells of a plan share, and which are long.
SHARED = ("conditions", "weights", "data")


def _content(plan: Plan) -> dict[str, Any] | None:
    """A plan as JSON; None if JSON would not give it back as it is."""
    shared: list[Any] = []
    cells = []
    for cell in plan.cells:
        key = vars(cell.key) | {}
        for name in SHARED:
            if key[name] not in shared:
                shared.append(key[name])
            key[name] = shared.index(key[name])
        cells.append(
            {
                "key": key, "role": cell.card.role, "title": cell.card.title, "path": cell.card.path,
                "needs": asdict(cell.needs), "engine": cell.engine, "place": dict(cell.place),
                "tuned": dict(cell.tuned),
                "evaluate": list(cell.variant.evaluate),
                "reference": dict((cell.variant.reference or cell.variant).point),
            }
        )  # fmt: skip
    content = {
        "name": plan.name, "device": plan.device, "precision": plan.precision, "devices": plan.devices,
        "left_out": list(plan.left_out), "code": list(plan.code), "shared": shared, "cells": cells,
    }  # fmt: skip
    try:
        same = json.loads(json.dumps(content)) == content
    except (TypeError, ValueError):
        return None
    return content if same else None


def _plan(kept: Mapping[str, Any]) -> Plan:
    """The plan that `_content` has made JSON of; its methods cannot be called."""
    cards: dict[str, MethodCard] = {}
    cells = []
    for told in kept["cells"]:
        key = CellKey(**told["key"] | {name: kept["shared"][told["key"][name]] for name in SHARED})
        card = MethodCard(key.method, told["title"], role=told["role"], path=told["path"])
        card = cards.setdefault(key.method, card)
        evaluate, point = tuple(told["evaluate"]), told["place"]["point"]
        variant = Variant((), evaluate, point, reference=Variant((), evaluate, told["reference"]))
        needs = Needs(**told["needs"])
        cells.append(
            Cell(
                card,
                _Unloaded(card),
                dict(key.hyperparameters),
                needs,
                key.seed,
                variant,
                key,
                told["engine"],
                told["place"],
                told["tuned"],
            )  # fmt: skip
        )
    return Plan(
        None,
        cells,
        kept["device"],
        kept["precision"],
        kept["devices"],
        tuple(kept["left_out"]),
        tuple(kept["code"]),
        kept["name"],
    )


class _Unloaded:
    """What stands for a method's function."""

    def __init__(self, card: MethodCard) -> None:
        self.card = card

    def __call__(self, pool: Any, /, **hyperparameters: Any) -> NoReturn:
        raise RuntimeError("a plan that was remembered cannot be run; make it anew")
