"""What lies beside a checkpoint in its folder and describes it: config.json and preprocessor_config.json."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from mergebench.catalogue.trust import check_encoder
from mergebench.errors import CheckpointError, MergebenchError
from mergebench.weights.descriptions import FAMILIES, encoder_of_config
from mergebench.weights.encoders import Encoder
from mergebench.weights.footing import rests_on
from mergebench.weights.reading import plain_text
from mergebench.zoo.encoder_notes import REMEDY, noted_encoder

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"

Scales = tuple[tuple[float, ...], tuple[float, ...]]


def told_encoder(state: Mapping[str, Tensor], named: Encoder | None = None, *, of_base: bool = False) -> Encoder | None:
    """The encoder that a checkpoint is of, as its own header says, or else what lies beside it.

    Args:
        state: as it is read from its file.
        named: what it is to be held to; one that code makes is nothing that a config.json could describe.
        of_base: whether it is the base: there, what is named counts more than a config.json, and one of a model that
            is not known is passed over.

    Returns:
        None if nothing says anything; an encoder without a name if only its images' scales are told.

    Raises:
        MergebenchError: a file beside it that cannot be read, describes what cannot be made, or names code.
    """
    noted = noted_encoder(state)
    path = getattr(state, "path", None)
    if noted is not None or path is None:
        return noted
    config, scales = path.with_name(CONFIG), scales_beside(path)
    described = None
    if config.is_file() and not (named and (of_base or ":" in named.name)):
        described = _described(config, not of_base)
    if described is None:
        return Encoder("", scales=scales) if scales else None
    if named is not None:  # such a file does not say whose the projection is
        described = described.projected(named.projection)
    return replace(described, scales=described.scales or scales)


def scales_beside(path: Path) -> Scales | None:
    """Mean and std of a checkpoint's images, as a preprocessor_config.json beside it says; None if there is none.

    Raises:
        CheckpointError: it cannot be read, or its images are not scaled to [0, 1] first.
    """
    beside = path.with_name(PREPROCESSOR)
    if not beside.is_file():
        return None
    told = _read(beside)
    if told.get("do_normalize") is False:
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    factor = told.get("rescale_factor", 1 / 255)
    if told.get("do_rescale") is False or not isinstance(factor, int | float) or abs(255 * factor - 1) > 1e-3:
        raise CheckpointError(
            f"{beside}: images are to be scaled by {factor if told.get('do_rescale', True) else 1}; only 1/255 can be "
            "done: correct it, or take it away"
        )
    mean, std = told.get("image_mean"), told.get("image_std")
    if mean is None and std is None:
        return None
    try:
        (*means,), (*stds,) = map(float, mean or ()), map(float, std or ())
    except (TypeError, ValueError):
        means = stds = []
    if len(means) != 3 or len(stds) != 3 or min(stds) <= 0:
        raise CheckpointError(f"{beside}: image_mean {mean} and image_std {std} are not three numbers each")
    return tuple(means), tuple(stds)


def _described(path: Path, strict: bool) -> Encoder | None:
    """What a config.json says; None if it is no model's (settings of a training, say)."""
    told = _read(path)
    if "architecture" not in told and "model_type" not in told:
        return None
    if not strict and "architecture" not in told and told["model_type"] not in FAMILIES:
        return None
    try:
        found = encoder_of_config(told, str(path))
    except MergebenchError as error:
        raise CheckpointError(f"{error}; correct it, or take it away if it is not this checkpoint's") from None
    return check_encoder(found, str(path), REMEDY)


def _read(path: Path) -> dict[str, Any]:
    rests_on(path)
    try:
        told = json.loads(plain_text(path))
    except (ValueError, OSError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); correct it, or take it away") from None
    return told if isinstance(told, dict) else {}
