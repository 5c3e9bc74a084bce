"""What encoder files are of, and how its images are normalised: as they are told, note or describe it themselves."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mergebench.catalogue.trust import check_encoder
from mergebench.errors import CheckpointError, MergebenchError
from mergebench.weights.descriptions import encoder_of_config, infer_encoder
from mergebench.weights.encoders import Encoder, structure
from mergebench.weights.footing import rests_on
from mergebench.weights.reading import plain_text
from mergebench.weights.resizing import other_size, remedy, sizes
from mergebench.weights.states import recipe_of

# Of images in [0, 1]: a quarter of a grey level. Scales that differ by less differ in how they were rounded.
ROUNDING = 1e-3

REMEDY = "give --encoder (in a zoo's file: encoder:)"


def encoder_of(
    notes: Mapping[str, Encoder | None],
    named: Encoder | None,
    base: str,
    config: Callable[[], Path | None],
    weights: Callable[[], Mapping[str, Tensor]],
    *,
    exact: bool = True,
    image_size: int | None = None,
) -> Encoder:
    """The encoder of a base and all that is to go with it.

    What is named and what files note must agree. Where neither says anything, the config.json beside the base does, or
    its shapes do: all but the activation.

    Args:
        notes: who -> what is noted there, or told beside it (`beside.told_encoder`), the base first.
        named: what a person says it is. Options and scales that are not given are those of a note of the same name.
        base: where the base is, for messages.
        config: finds the config.json beside it.
        weights: reads it, under timm's names.
        exact: whether images go through the encoder, so that its activation matters.
        image_size: that all is taken to, so that what they say of it may differ.

    Raises:
        MergebenchError: they do not agree, nothing says it, or only files say that some code makes it, which is no
            registered zoo's: a file that is read must not choose what is run.
    """
    bare = {who: noted for who, noted in notes.items() if noted is not None and not noted.name}
    full = {who: noted for who, noted in notes.items() if who not in bare}
    found = _found(full, named, base, config, weights, exact, image_size)
    for who, noted in bare.items():  # which tell of scales alone
        check_note(noted, who, found, "what else is there is of")
        found = replace(found, scales=found.scales or noted.scales)
    return found


def _found(
    notes: Mapping[str, Encoder | None],
    named: Encoder | None,
    base: str,
    config: Callable[[], Path | None],
    weights: Callable[[], Mapping[str, Tensor]],
    exact: bool,
    image_size: int | None,
) -> Encoder:
    """As `encoder_of`, of notes that all name an encoder."""
    found = _agreed(notes, named, image_size)
    if found is not None:
        return found
    described = config()
    if described is not None:
        return check_encoder(_described_encoder(described), str(described), REMEDY)
    state = weights()
    likely = [infer_encoder(state, activation, who=base) for activation in ("quick_gelu", "gelu")]
    if not exact:
        return replace(likely[0], alternative=likely[1].name)
    options = [f"{name}={value}" for name, value in likely[0].options.items()]
    sizes = f"of the sizes --encoder-options {' '.join(options)}, " * bool(options)
    raise MergebenchError(
        f"{base} does not say what encoder it is of, and no config.json beside it does; {sizes}by its shapes it is "
        f"{likely[0].name} (as OpenAI's CLIPs) or {likely[1].name}: {REMEDY}"
    )


def noted_encoder(state: Mapping[str, Tensor]) -> Encoder | None:
    """The encoder that `finetune` or `merge` noted in a checkpoint's header; None if there is no such note."""
    noted = recipe_of(state).get("encoder")
    if not isinstance(noted, Mapping):
        return None
    try:
        scales = (_channels(noted["mean"]), _channels(noted["std"])) if "mean" in noted else None
        if not isinstance(noted["name"], str):  # its activation was not known
            return None
        return Encoder(noted["name"], dict(noted.get("options", {})), scales)
    except (ValueError, TypeError, KeyError):  # another program's
        return None


def check_note(
    noted: Encoder | None,
    who: str,
    encoder: Encoder,
    whose: str,
    image_size: int | None = None,
    of_base: bool = False,
) -> None:
    """Hold what a file notes to an encoder; what it does not note is taken at its word.

    Args:
        noted: of `noted_encoder`.
        who: the file, for messages.
        encoder: what it must agree with, in options and scales too.
        whose: who says so, with a verb ("zoo 'mine' is of").
        image_size: that all is taken to, so that what they say of it may differ.
        of_base: whether the file is the base's, which others can be taken to.

    Raises:
        CheckpointError: it notes another encoder, or other scales.
    """
    if noted is None:
        return
    told = None
    if image_size and noted.name:
        noted, encoder = _sized(noted, image_size), _sized(encoder, image_size)
    if noted.name and not _alike(noted, encoder):
        _check_sizes(noted, who, encoder, whose, of_base)
        told = [f"encoder {e.name!r}" + (f" with {dict(e.options)}" if e.options else "") for e in (noted, encoder)]
    elif noted.scales and encoder.scales and not _close(noted.scales, encoder.scales):
        told = ["images normalised by mean {} and std {}".format(*s) for s in (noted.scales, encoder.scales)]
    if told:
        raise CheckpointError(
            f"{who} says that it is of {told[0]}, but {whose} {told[1]}; correct what names them (--encoder; in a "
            "zoo's file encoder:, mean:, std:), or make it again"
        )


def check_noted_size(noted: Encoder | None, who: str, base: Mapping[str, Tensor], encoder: Encoder) -> None:
    """Hold a checkpoint that goes with a resized base to one of two image sizes, as not all have tensors that tell.

    Args:
        noted: what the checkpoint says of itself.
        who: it, for messages.
        base: the base's weights.
        encoder: what they are loaded into.

    Raises:
        CheckpointError: it was noted to be of a third.
    """
    size = _image_size(noted) if noted is not None and noted.name else None
    if size is not None and size not in sizes(base, encoder):
        raise other_size(who, size, base, encoder)


def _check_sizes(noted: Encoder, who: str, encoder: Encoder, whose: str, of_base: bool) -> None:
    """Refuse, with what helps, a note that differs in the size of images alone."""
    own, theirs = _image_size(noted), _image_size(encoder)
    if own is None or theirs is None or own == theirs or not _alike(_sized(noted, theirs), encoder):
        return
    raise CheckpointError(
        f"{who} says that it is of encoder {noted.name!r} for images of {own} pixels, but {whose} one for {theirs}; "
        + remedy(theirs if of_base else own)
    )


def _image_size(encoder: Encoder) -> int | None:
    """Of timm's encoders; None where it cannot be told. Code is not run to find out."""
    try:
        return None if ":" in encoder.name else encoder.image_size
    except MergebenchError:
        return None


def _sized(encoder: Encoder, image_size: int) -> Encoder:
    """An encoder of timm's with other images, to be compared."""
    return encoder if ":" in encoder.name else replace(encoder, options={**encoder.options, "img_size": image_size})


def _agreed(
    notes: Mapping[str, Encoder | None], named: Encoder | None, image_size: int | None = None
) -> Encoder | None:
    """What is named and noted, if it is the same; None if nothing is."""
    said = {who: noted for who, noted in notes.items() if noted is not None}
    found, first = named, ""
    if named is not None and not named.options:
        like = next((noted for noted in said.values() if noted.name == named.name), named)
        found = replace(named, options=like.options)
    for who, noted in said.items():
        if found is None:
            found, first = noted, who
        whose, of_base = f"{first} that it is of" if first else "what was named is", who == next(iter(notes))
        check_note(noted, who, found, whose, image_size, of_base)
        found = replace(found, scales=found.scales or noted.scales)
    return check_encoder(found, first, REMEDY) if found is not None and first else found


def _described_encoder(path: Path) -> Encoder:
    """The encoder that a config.json describes, timm's or that of a Hugging Face CLIP.

    Raises:
        MergebenchError: it cannot be read, or describes another model.
    """
    rests_on(path)
    try:
        config: Any = json.loads(plain_text(path))
    except (ValueError, OSError, RecursionError) as error:
        raise MergebenchError(f"{path} cannot be read ({error}): {REMEDY}") from None
    return encoder_of_config(config, str(path))


def _alike(one: Encoder, other: Encoder) -> bool:
    """Whether two encoders compute the same, however their options are written. Code is not run to find out."""
    # Rates of dropping matter while a model is trained, and to nobody else.
    one, other = (
        replace(e, options={n: v for n, v in e.options.items() if not n.endswith("_rate")}) for e in (one, other)
    )
    if one.name == other.name and one.options == other.options:
        return True
    if ":" in one.name or ":" in other.name:
        return False
    try:
        return structure(one) == structure(other)
    except MergebenchError:  # a note of what this version of timm cannot make
        return False


def _channels(values: Any) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def _close(one: tuple[tuple[float, ...], ...], other: tuple[tuple[float, ...], ...]) -> bool:
    return np.allclose(one, other, rtol=0, atol=ROUNDING)
