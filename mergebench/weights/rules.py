"""What a dialect is: rules that say where another library keeps each tensor of timm's, read both ways."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

PROJECTION = "head.weight"  # timm's name of what CLIP calls visual.proj, where it belongs to the encoder [embed, width]


@dataclass(frozen=True)
class Rule:
    """A tensor of timm's, and where another library keeps it.

    Args:
        timm: its name there; `{}` stands for the number of a block.
        theirs: its name, or the names of the parts that stand one below the other in timm's.
        leading: dimensions of length one that timm has in front.
        thirds: which thirds of their rows it is, from and to, where timm has in two what they have in one.
        transposed: whether theirs is the transpose of timm's matrix.
    """

    timm: str
    theirs: tuple[str, ...]
    leading: int = 0
    thirds: tuple[int, int] | None = None
    transposed: bool = False

    def numbered(self, block: int, prefix: str) -> "Rule":
        """The rule of one block, with what stands before their names."""
        return replace(self, timm=self.timm.format(block), theirs=tuple(prefix + n.format(block) for n in self.theirs))


@dataclass(frozen=True)
class Dialect:
    """One library's names of one kind of encoder.

    Args:
        name: as options say it.
        title: as messages say it.
        prefixes: what that library puts before the names of the encoder; the first is what we write.
        rules: the encoder's tensors.
        inside: tensors below the prefix that are no part of the encoder; all below a name that ends in a dot.
        beside: the same, of a whole model, beside the encoder's prefix.
        heads: the same as `inside`, but of what was trained with it, so that it is told.
        parts: what else may be a part of the encoder, by the first word of its names, besides those in `rules`.
        complete: whether an encoder has these tensors and no others.
        projected: where a whole model keeps the projection of its images, below `{prefix}` (of the encoder's names) or
            `{wrapper}` (of all names).
    """

    name: str
    title: str
    prefixes: tuple[str, ...]
    rules: tuple[Rule, ...]
    inside: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    complete: bool = True
    projected: Rule | None = None

    def of_depth(self, depth: int, prefix: str) -> tuple[Rule, ...]:
        """The rules of an encoder of so many blocks."""
        once = [rule.numbered(0, prefix) for rule in self.rules if "{}" not in rule.timm]
        blocks = [rule for rule in self.rules if "{}" in rule.timm]
        return (*once, *(rule.numbered(block, prefix) for block in range(depth) for rule in blocks))

    def depth(self, names: Iterable[str], prefix: str) -> int:
        """How many blocks these names are of, at least one."""
        stems = (rule.theirs[0].partition("{}")[0] for rule in self.rules if "{}" in rule.timm)
        stem = prefix + next(stems)
        numbers = {n.removeprefix(stem).partition(".")[0] for n in names if n.startswith(stem)}
        return max(1, sum(re.fullmatch("0|[1-9][0-9]*", n) is not None for n in numbers))

    def projection(self, prefix: str) -> Rule | None:
        """The rule of the projection, where this stands before the encoder's names; None if there is no such thing."""
        if self.projected is None:
            return None
        (name,) = self.projected.theirs
        return replace(self.projected, theirs=(name.format(prefix=prefix, wrapper=self.wrapper(prefix)),))

    @property
    def anchor(self) -> str:
        """Their name of what every encoder of images has and no other tower: the patches' embedding."""
        return next(rule.theirs[0] for rule in self.rules if rule.timm == "patch_embed.proj.weight")

    def wrapper(self, prefix: str) -> str:
        """What stands before a whole model's names, where this stands before the encoder's."""
        own = max((p for p in self.prefixes if f".{prefix}".endswith(f".{p}" if p else "")), key=len, default="")
        return prefix.removesuffix(own)

    def is_known(self, name: str, prefix: str) -> bool:
        """Whether a name is of a part of the whole model that is known to be none of the encoder's."""
        if name.startswith(prefix):
            return _listed(name.removeprefix(prefix), self.inside)
        wrapper = self.wrapper(prefix)
        return name.startswith(wrapper) and _listed(name.removeprefix(wrapper), self.beside)

    def is_other(self, name: str, prefix: str, own: Collection[str] = (), number: bool = False) -> bool:
        """Whether a name is one of another part of the model than the encoder.

        What stands behind the library's own name of its encoder is the encoder's, known or not. Where nothing stands
        before its names but what holds the whole model, modules of other names than its own lie beside it, and counts.

        Args:
            name: of a tensor.
            prefix: what stands before the encoder's names.
            own: the encoder's names, where they are known.
            number: whether the tensor is a single number.
        """
        if not name.startswith(prefix) or self.is_known(name, prefix):
            return True
        within = name.removeprefix(prefix)
        if _listed(within, self.heads) and within not in own:
            return True
        first, dot, _ = within.partition(".")
        parts = {n.partition(".")[0] for n in (*self.parts, *(t for r in self.rules for t in r.theirs), *own)}
        return prefix == self.wrapper(prefix) and (bool(dot) or number) and first not in parts


def _listed(name: str, known: tuple[str, ...]) -> bool:
    return any(name.startswith(k) if k.endswith(".") else name == k for k in known)
