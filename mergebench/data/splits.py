"""From a source's train and test to this project's four splits, none of which shares an image with another.

The test split is the source's. Where it has none, a fifth of its train split is; then validation is the source's, or a
tenth of what is left (2,000 images at most), calibration a third of what is left (2,048 at most), and train the rest.
Which images these are is decided by a permutation that depends on their number alone, whatever their classes or the
task's name. One image more or less deals all of them out anew: where the test split is a part of train, an expert's
header says which it was (`set_aside.py`).
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Literal

from mergebench.errors import MergebenchError

if TYPE_CHECKING:
    import numpy as np

Role = Literal["train", "test", "validation"]  # what a source's split is taken for

VERSION = 1  # raise it whenever another image would go into a split

VALIDATION, CALIBRATION = 2000, 2048  # at most
# What speaks of a split, in whatever company.
_TRAIN = ("train", "training", "trainset", "trn", "trainval")
_TEST = ("test", "tests", "testing", "testset", "tst", "eval", "evaluation", "holdout")
_WORDS = (*_TRAIN, *_TEST, "val", "valid", "validation", "dev")
_COLUMNS = ("split", "splits", "set", "subset", "usage", "partition", "phase", "fold", "mode")
FEW = 20  # different values that a column of splits may have, which nothing but its name speaks for
# What sources call their splits.
USUAL: dict[Role, tuple[str, ...]] = {
    "train": ("train",),
    "test": ("test",),
    "validation": ("validation", "valid", "val"),
}


def wanted(splits: Mapping[Role, str]) -> set[str]:
    """The names of all splits that a source may be asked for; `splits`: as in TaskConfig."""
    return {name for role, usual in USUAL.items() for name in ([splits[role]] if role in splits else usual)}


def meant(name: str, names: Collection[str]) -> str | None:
    """Which of `names` a source's split is: as it is written, or else whatever its case."""
    if name in names:
        return name
    return next((known for known in sorted(names) if known.lower() == name.lower()), None)


def strangers(there: Iterable[str], asked: Collection[str]) -> list[str]:
    """Names of splits that are neither asked for nor usual: were they passed over, another might be made for them."""
    usual = {name for names in USUAL.values() for name in names}
    return [name for name in there if meant(name, asked) is None and meant(name, usual) is None]


def looks_like(name: str) -> bool:
    """Whether a name speaks of a split: "Training", "seg_train", "PublicTest", "val2017"."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    return any(word.lower() in _WORDS for word in words)


def kept_back(name: str) -> bool:
    """Whether a name says, and no more, that images are kept back from training: no thing is called so."""
    return name.lower() in (*_TEST, "val", "valid", "validation")


def role_of(name: str) -> str:
    """Which of train, test and validation a name that speaks of a split speaks of."""
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}
    return "train" if words & set(_TRAIN) else "test" if words & set(_TEST) else "validation"


def look_like(names: Collection[str]) -> bool:
    """Whether these, all that a column says, tell one split from another, or name another than train."""
    return bool(names) and all(map(looks_like, names)) and not all(n.lower() in _TRAIN for n in names)


def speaks_of_splits(column: str) -> bool:
    """Whether a column may say the split, by its name."""
    return looks_like(column) or column.strip().lower() in _COLUMNS


def left_out(splits: Mapping[Role, str], counted: Collection[str], there: Iterable[str]) -> str | None:
    """A split that would be taken for test or validation, were it counted; without it, a part of train is.

    Args:
        splits: as for `roles`.
        counted: the splits whose counts are stated.
        there: those that the source has, as it spells them.
    """
    known = {name for spelt in there if (name := meant(spelt, wanted(splits))) is not None}
    taken, all_taken = roles(splits, counted), roles(splits, {*counted, *known})
    return next((name for role, name in all_taken.items() if role not in taken), None)


def roles(splits: Mapping[Role, str], there: Collection[str]) -> dict[str, str]:
    """Which of a source's splits are taken for train, test and validation; the latter two may be absent.

    Args:
        splits: train, validation or test -> the source's name of it, where they differ from the usual.
        there: the splits that the source has.

    Raises:
        MergebenchError: a split that the source does not have, or one that would serve twice.
    """
    twice = next((n for n in splits.values() if list(splits.values()).count(n) > 1), None)
    if twice is not None:
        raise MergebenchError(f"splits: {twice!r} is named twice; no image may be in two splits")
    found: dict[str, str] = {}
    for role, usual in USUAL.items():
        free = [n for n in usual if n in there and n not in splits.values()]
        if role in splits:
            found[role] = splits[role]
        elif free:
            found[role] = free[0]
    lacking = [name for name in found.values() if name not in there] or ["train"] * ("train" not in found)
    if lacking == ["train"] and "train" in splits.values():
        raise MergebenchError("splits: 'train' is taken for another split; say which one is to be trained on (train:)")
    if lacking:
        raise MergebenchError(
            f"no split {lacking[0]!r}; there are: {', '.join(sorted(there)) or 'none'} (see `splits`)"
        )
    return found


def sizes(counts: Mapping[str, int]) -> dict[str, int]:
    """The number of images of each of this project's splits.

    Args:
        counts: of what is taken for train, and for test and validation where the source has them.

    Raises:
        MergebenchError: too few images for four splits.
    """
    return {split: len(indices) for split, (_, indices) in _ranges(counts).items()}


def share(counts: Mapping[str, int], split: str) -> "tuple[str, np.ndarray]":
    """Where a split's images are: which of train, test and validation, and the indices in it, int64 [N], ascending.

    Args:
        counts: as for `sizes`.
        split: one of this project's.
    """
    import numpy as np

    role, places = _ranges(counts)[split]
    if role != "train":
        return role, np.arange(counts[role])
    seed = hashlib.sha256(f"splits|{VERSION}|{counts['train']}".encode()).digest()
    order = np.random.default_rng(np.frombuffer(seed, dtype=np.uint32)).permutation(counts["train"])
    return role, np.sort(order[places.start : places.stop])


def _ranges(counts: Mapping[str, int]) -> dict[str, tuple[str, range]]:
    """Split -> whose images, and its place in their order."""
    found = {role: (role, range(counts[role])) for role in ("test", "validation") if role in counts}
    count, start = counts["train"], 0
    for split in ("test", "validation", "calibration"):
        if split in found:
            continue
        left = count - start
        size = {
            "test": -(-left // 5),
            "validation": min(VALIDATION, -(-left // 10)),
            "calibration": min(CALIBRATION, max(1, left // 3)),
        }[split]
        found[split] = "train", range(start, start + size)
        start += size
    if start >= count or not all(counts.values()):
        raise MergebenchError(f"too few images to make train, calibration, validation and test: {dict(counts)}")
    return {split: found.get(split, ("train", range(start, count))) for split in ("train", *found)}
