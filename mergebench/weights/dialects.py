"""How timm, Hugging Face and open_clip name the tensors of a CLIP vision transformer: tables, read both ways."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Rule:
    """A tensor of timm's, and where another library keeps it.

    Args:
        timm: its name there; `{}` stands for the number of a block.
        theirs: its name, or the names of the parts that stand one below the other in timm's.
        leading: dimensions of length one that timm has in front.
    """

    timm: str
    theirs: tuple[str, ...]
    leading: int = 0

    def numbered(self, block: int, prefix: str) -> "Rule":
        """The rule of one block, with what stands before their names."""
        return replace(self, timm=self.timm.format(block), theirs=tuple(prefix + n.format(block) for n in self.theirs))


@dataclass(frozen=True)
class Dialect:
    """One library's names.

    Args:
        name: as options say it.
        title: as messages say it.
        prefixes: what may stand before the names of the encoder; the first is what we write.
        rules: the encoder's tensors.
        inside: tensors below the prefix that are no part of the encoder; all below a name that ends in a dot.
        beside: the same, of a whole model, beside the encoder's prefix.
        complete: whether an encoder has these tensors and no others.
    """

    name: str
    title: str
    prefixes: tuple[str, ...]
    rules: tuple[Rule, ...]
    inside: tuple[str, ...]
    beside: tuple[str, ...]
    complete: bool = True

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

    def is_other(self, name: str, prefix: str, wrapper: str) -> bool:
        """Whether a name is one of another part of the model, known to be none of the encoder's."""
        if name.startswith(prefix):
            return _listed(name.removeprefix(prefix), self.inside)
        return name.startswith(wrapper) and _listed(name.removeprefix(wrapper), self.beside)


def _listed(name: str, known: tuple[str, ...]) -> bool:
    return any(name.startswith(k) if k.endswith(".") else name == k for k in known)


def _both(timm: str, *theirs: str) -> tuple[Rule, Rule]:
    """A layer's weight and bias."""
    weight, bias = (Rule(f"{timm}.{p}", tuple(f"{name}.{p}" for name in theirs)) for p in ("weight", "bias"))
    return weight, bias


HUGGING_FACE = Dialect(
    name="hf",
    title="Hugging Face CLIP vision model",
    prefixes=("vision_model.", ""),
    rules=(
        Rule("cls_token", ("embeddings.class_embedding",), leading=2),
        Rule("pos_embed", ("embeddings.position_embedding.weight",), leading=1),
        Rule("patch_embed.proj.weight", ("embeddings.patch_embedding.weight",)),
        *_both("norm_pre", "pre_layrnorm"),  # sic
        *_both("blocks.{}.norm1", "encoder.layers.{}.layer_norm1"),
        *_both("blocks.{}.attn.qkv", *(f"encoder.layers.{{}}.self_attn.{part}_proj" for part in "qkv")),
        *_both("blocks.{}.attn.proj", "encoder.layers.{}.self_attn.out_proj"),
        *_both("blocks.{}.norm2", "encoder.layers.{}.layer_norm2"),
        *_both("blocks.{}.mlp.fc1", "encoder.layers.{}.mlp.fc1"),
        *_both("blocks.{}.mlp.fc2", "encoder.layers.{}.mlp.fc2"),
        *_both("norm", "post_layernorm"),
    ),
    inside=("embeddings.position_ids",),
    beside=("text_model.", "text_projection.weight", "visual_projection.weight", "logit_scale"),
)

_TEXT_TOWER = (
    "text.", "token_embedding.weight", "positional_embedding", "transformer.", "ln_final.", "text_projection",
    "attn_mask", "logit_scale", "logit_bias", "input_resolution", "context_length", "vocab_size",
)  # fmt: skip

OPEN_CLIP = Dialect(
    name="open_clip",
    title="open_clip vision transformer",
    prefixes=("visual.", ""),
    rules=(
        Rule("cls_token", ("class_embedding",), leading=2),
        Rule("pos_embed", ("positional_embedding",), leading=1),
        Rule("patch_embed.proj.weight", ("conv1.weight",)),
        *_both("norm_pre", "ln_pre"),
        *_both("blocks.{}.norm1", "transformer.resblocks.{}.ln_1"),
        Rule("blocks.{}.attn.qkv.weight", ("transformer.resblocks.{}.attn.in_proj_weight",)),
        Rule("blocks.{}.attn.qkv.bias", ("transformer.resblocks.{}.attn.in_proj_bias",)),
        *_both("blocks.{}.attn.proj", "transformer.resblocks.{}.attn.out_proj"),
        *_both("blocks.{}.norm2", "transformer.resblocks.{}.ln_2"),
        *_both("blocks.{}.mlp.fc1", "transformer.resblocks.{}.mlp.c_fc"),
        *_both("blocks.{}.mlp.fc2", "transformer.resblocks.{}.mlp.c_proj"),
        *_both("norm", "ln_post"),
    ),
    inside=("proj",),
    beside=_TEXT_TOWER,
)

TIMM = Dialect(
    name="timm",
    title="timm VisionTransformer",
    prefixes=("", "visual.trunk."),  # the latter in open_clip's models whose vision tower is timm's
    rules=tuple(Rule(rule.timm, (rule.timm,)) for rule in HUGGING_FACE.rules),
    inside=("head.",),
    beside=("visual.head.", *_TEXT_TOWER),
    complete=False,  # there are many; the architecture says what each must have
)

DIALECTS = {dialect.name: dialect for dialect in (TIMM, HUGGING_FACE, OPEN_CLIP)}

# What training code leaves before every name: nothing, or the attribute that held the model.
WRAPPERS = ("", "module.", "model.")
