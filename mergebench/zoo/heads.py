"""The classifier of a task, from class prompts or from a linear probe: frozen, never merged."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mergebench.errors import CheckpointError, MergebenchError
from mergebench.weights.states import check_finite, recipe_of

TEXTS = "text_features"  # of a zero-shot head, what is of one task alone


class ZeroShotHead(nn.Module):
    """Cosine classifier on projected features, as CLIP scores an image against class prompts.

    Args:
        projection: visual projection [embed, width] (no bias), as `nn.Linear` holds it; None where it belongs to the
            encoder, whose features are behind it.
        text_features: one unit-norm text embedding per class [classes, embed].
        logit_scale: the multiplier of the cosines (already exponentiated), a scalar.
    """

    projection: Tensor | None
    text_features: Tensor
    logit_scale: Tensor
    metadata: Mapping[str, str]  # what the writer of its file noted, where it is from one

    def __init__(self, projection: Tensor | None, text_features: Tensor, logit_scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("projection", None if projection is None else projection.float())
        self.register_buffer("text_features", text_features.float())
        self.register_buffer("logit_scale", logit_scale.float())

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, width] -> logits [B, classes]."""
        if self.projection is not None:
            features = features @ self.projection.to(features.dtype).T
        embedded = nn.functional.normalize(features, dim=-1)
        return self.logit_scale.to(features.dtype) * embedded @ self.text_features.to(features.dtype).T

    @property
    def classes(self) -> int:
        """How many classes it tells apart."""
        return len(self.text_features)


class LinearHead(nn.Module):
    """Linear classifier on features, for a backbone without a text tower.

    Args:
        weight: [classes, width].
        bias: [classes].
    """

    weight: Tensor
    bias: Tensor
    metadata: Mapping[str, str]  # as of the other kind

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight.float())
        self.register_buffer("bias", bias.float())

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, width] -> logits [B, classes]."""
        return nn.functional.linear(features, self.weight.to(features.dtype), self.bias.to(features.dtype))

    @property
    def classes(self) -> int:
        """How many classes it tells apart."""
        return len(self.weight)


Head = ZeroShotHead | LinearHead


def load_head(state: Mapping[str, Tensor], width: int, classes: int | None, who: str, projected: bool = False) -> Head:
    """The head that a checkpoint holds: its tensors' names say of which kind.

    Args:
        state: `projection`, `text_features` and `logit_scale`; or `weight` and `bias`.
        width: of the backbone's features.
        classes: how many the task has; None: as many as the head.
        who: whose head, for messages.
        projected: whether features are behind a projection of the encoder's, so that a zero-shot head may have none.

    Raises:
        CheckpointError: a tensor is missing, does not fit the task or the backbone, or is not finite; or there are
            tensors of both kinds.
    """
    kinds = {ZeroShotHead: ("projection", "text_features", "logit_scale"), LinearHead: ("weight", "bias")}
    kind = LinearHead if set(kinds[LinearHead]) & set(state) else ZeroShotHead
    other = next((n for n in kinds[ZeroShotHead] if n in state), "") if kind is LinearHead else ""
    if other:
        raise CheckpointError(f"{who} holds {other!r} of a zero-shot head and 'weight' or 'bias' of a linear one")
    try:
        if kind is LinearHead:
            head: Head = LinearHead(state["weight"], state["bias"])
        else:
            projection = None if projected and "projection" not in state else state["projection"]
            head = ZeroShotHead(projection, state["text_features"], state["logit_scale"])
    except KeyError as error:
        told = " or ".join(", ".join(names) for names in kinds.values())
        raise CheckpointError(f"{who} lacks {error}; a head holds {told}") from None
    shapes = {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()}
    found = (*shapes["text_features" if kind is ZeroShotHead else "weight"], 0)[0]
    embed = (*shapes["projection"], 0)[0] if "projection" in shapes else width
    fitting: dict[str, tuple[int, ...]] = {"weight": (found, width), "bias": (found,)}
    fitting |= {"projection": (embed, width), "text_features": (found, embed), "logit_scale": ()}
    if any(shape != fitting[name] for name, shape in shapes.items()):
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        hint = ""
        if shapes.get("weight", (width,))[-1:] != (width,):
            hint = "; is it for features behind a projection? It must be for the encoder's own, before any"
        elif projected and "projection" in shapes:
            hint = "; the projection is the encoder's (projection: merged), and a head made with another has none"
        raise CheckpointError(f"{who} does not fit features of width {width}: {told}{hint}")
    if classes not in (None, found):
        raise CheckpointError(f"{who} has {found} classes, its card {classes}")
    check_finite(head.state_dict(), who)
    head.metadata = getattr(state, "metadata", {})
    return head.eval()


def check_own_head(head: Head, expert: Mapping[str, Tensor], who: str, whose: str) -> None:
    """Hold a head to the expert that it goes with, where the headers of both say what they were made for.

    Args:
        head: as `load_head` gives it.
        expert: the weights, as they are read from their file.
        who, whose: the head and the expert, for messages.

    Raises:
        CheckpointError: it was made for another task, or other classes.
    """
    notes = {name: (recipe_of(head).get(name), recipe_of(expert).get(name)) for name in ("tasks", "classes")}
    for name, (own, expected) in notes.items():
        if not (isinstance(own, list) and isinstance(expected, list)) or own == expected:
            continue
        if name == "tasks" and set(map(str, own)) <= set(map(str, expected)):  # of a model of several
            continue
        raise CheckpointError(
            f"{who} says that its {name} are {_few(own)}, but those of {whose} are {_few(expected)}: give each expert "
            "the head that was made with it"
        )


def _few(names: Sequence[object]) -> str:
    return ", ".join(map(str, names[:3])) + (", ..." if len(names) > 3 else "")


def joint_head(heads: Sequence[Head]) -> Head:
    """One classifier over the classes of several tasks.

    Raises:
        MergebenchError: heads of both kinds, or of different projections or scales, whose scores cannot stand beside
            each other.
    """
    linear = [head for head in heads if isinstance(head, LinearHead)]
    zero_shot = [head for head in heads if isinstance(head, ZeroShotHead)]
    if linear and zero_shot:
        raise MergebenchError("zero-shot and linear heads cannot be joined into one classifier; use one kind")
    if linear:
        return LinearHead(torch.cat([h.weight for h in linear]), torch.cat([h.bias for h in linear])).eval()
    first, *others = zero_shot
    for head in others:
        mine, theirs = head.state_dict(), first.state_dict()
        same = mine.keys() == theirs.keys() and all(torch.equal(mine[n], theirs[n]) for n in mine if n != TEXTS)
        if not same:
            raise MergebenchError("heads of different projections or logit scales cannot be joined into one classifier")
    return ZeroShotHead(first.projection, torch.cat([h.text_features for h in zero_shot]), first.logit_scale).eval()


def average_prompts(prompt_features: Sequence[Tensor]) -> Tensor:
    """Class embeddings from prompt embeddings, as CLIP does: normalise, average over templates, normalise.

    Args:
        prompt_features: per class, the text tower's output for every template [templates, embed].

    Returns:
        Unit rows [classes, embed].
    """
    means = [nn.functional.normalize(p, dim=-1).mean(0) for p in prompt_features]
    return nn.functional.normalize(torch.stack(means), dim=-1)
