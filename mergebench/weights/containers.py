"""Which of the state dicts in a torch checkpoint is meant: training code keeps several side by side."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from mergebench.errors import CheckpointError
from mergebench.weights.towers import freed, towers

# Where a state dict is kept. Of each pair both may be there; the first is what the writer's own loader takes.
PREFERRED = (
    ("state_dict_ema", "state_dict"),  # timm
    ("model_ema", "model"),  # timm, DeiT
    ("model_ema", "state_dict"),
    ("teacher", "student"),  # DINO
)
# Where weights are looked for that hold no encoder of a known kind.
KEYS = tuple(dict.fromkeys(key for pair in PREFERRED for key in pair)) + (
    "model_state_dict", "model_state", "ema", "ema_state_dict", "ema_weights", "net", "network", "encoder", "backbone",
    "weights", "params",
)  # fmt: skip
DEEPEST = 3  # a state dict may be in a container in a container
PLAIN = (int, float, str, bytes, bool, type(None), Mapping, list, tuple, set)


def state_dict_in(read: Mapping[Any, Any], who: str) -> tuple[dict[str, Tensor], str]:
    """The weights in what `torch.save` wrote, and a sentence where something was decided.

    Args:
        read: a state dict, or a mapping that holds one beside optimiser states, numbers and the like.
        who: the file, for messages.

    Returns:
        The state dict, and what is to be told, perhaps nothing. Where an encoder is, wherever that is, is the state
        dict; else what a usual key leads to; else all of it.

    Raises:
        CheckpointError: several, of which none is known to be preferred; or something in one that is no tensor.
    """
    for _, inner in _state_dicts(read):
        _check_held(inner, who)
    held = {path: inner for path, inner in _state_dicts(read) if towers(freed(map(str, inner)))}
    for path in list(held):
        if any(_same(held[path], held[other]) for other in list(held)[: list(held).index(path)]):
            del held[path]
    if not held:
        held = {(key,): read[key] for key in KEYS if isinstance(read.get(key), Mapping) and read[key]}
    if not held:
        return _tensors(read, who)
    paths = list(held)
    first = next((path for path in paths if len(paths) == 1 or _pair(path, paths) in PREFERRED), None)
    if first is None:
        raise CheckpointError(
            f"{who} holds weights under {' and under '.join(map(_told, paths))}: save the ones that are meant, "
            f"torch.load(path){_index(paths[0])}, with safetensors.torch.save_file, and use that file"
        )
    weights, odd = _tensors(held[first], who)
    other = next((path for path in paths if path != first), None)
    chosen = "" if other is None else (
        f"{who} holds weights under {_told(first)} and under {_told(other)}: {_told(first)} is taken, as its writer's "
        "own loader does"
    )  # fmt: skip
    return weights, "; ".join(filter(None, (chosen, odd)))


def _state_dicts(
    read: Mapping[Any, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """All mappings that hold tensors, with the keys that lead to them."""
    if any(isinstance(value, Tensor) for value in read.values()):
        yield path, read
    if len(path) < DEEPEST:
        for key, value in read.items():
            if isinstance(key, str) and isinstance(value, Mapping):
                yield from _state_dicts(value, (*path, key))


def _check_held(state: Mapping[Any, Any], who: str) -> None:
    """Refuses tensors larger than what the file holds of them, and names that no other file can hold.

    (Of one number that says to be terabytes, terabytes would be made.)
    """
    for name, value in state.items():
        if any("\ud800" <= character <= "\udfff" for character in str(name)):
            raise CheckpointError(f"{who}: {str(name)!r} is no name of a tensor (half a character); rename it")
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta or value.is_quantized:
            continue  # told where it is asked for
        held = value.untyped_storage().nbytes()
        if value.nbytes > held:
            raise CheckpointError(
                f"{who}: {str(name)!r} is {tuple(value.shape)}, of which the file holds {held:,} bytes (an expanded "
                "view); save it whole, by .contiguous(), with safetensors.torch.save_file"
            )


def _same(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> bool:
    """Whether two state dicts hold the same, so that it does not matter which is meant."""
    mine, theirs = ({n: t for n, t in state.items() if isinstance(t, Tensor)} for state in (one, other))
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def _pair(first: tuple[str, ...], paths: list[tuple[str, ...]]) -> tuple[str, ...]:
    """The last keys of two paths that begin alike, the first before the other."""
    other = next(path for path in paths if path != first)
    return (first[-1], other[-1]) if len(paths) == 2 and first and first[:-1] == other[:-1] else ()


def _tensors(state: Mapping[Any, Any], who: str) -> tuple[dict[str, Tensor], str]:
    """A state dict's tensors, and what is said of numbers and texts that lie among them."""
    tensors = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
    odd = [name for name, value in state.items() if not isinstance(value, Tensor)]
    wrong = next((name for name in odd if not tensors or not isinstance(state[name], PLAIN)), None)
    if wrong is not None:
        raise CheckpointError(f"{who}: {wrong!r} is of type {type(state[wrong]).__name__}, not a tensor")
    if not odd:
        return tensors, ""
    more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
    return tensors, f"{who}: {', '.join(map(repr, odd[:3]))}{more} among the tensors, no tensor, left aside"


def _told(path: tuple[str, ...]) -> str:
    return repr(".".join(path)) if path else "no key"


def _index(path: tuple[str, ...]) -> str:
    return "".join(f"[{key!r}]" for key in path)
