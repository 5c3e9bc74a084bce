"""Zero-shot heads from a CLIP checkpoint's text tower: class names in prompts, embedded once and kept."""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from mergebench.data.content import looked_at
from mergebench.data.image_cache import cache_root
from mergebench.errors import CheckpointError, MergebenchError
from mergebench.weights.reading import plain_text
from mergebench.weights.states import StateDict, digest
from mergebench.zoo.heads import ZeroShotHead, average_prompts
from mergebench.zoo.kept_heads import keep, kept

VERSION = 2  # raise it whenever the same tower and prompts would give another head
PROMPTS = 256  # embedded at a time
HEAD_WIDTH = 64  # of every published CLIP's text tower
# CPUs round each in its own way. In float64, on a grid as fine as float32 is near 1/2, what is left of that is the rare
# value half-way between two points, and heads (with all results that are keyed by them) are the same everywhere.
GRID = 2.0**-22

# Hugging Face's names of the parts of a text tower -> open_clip's.
_HF_PARTS = {
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}
_HF_SUBLAYERS = {
    "layer_norm1": "ln_1",
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_HF_LAYER = re.compile(r"text_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_OWN = re.compile(r"(?:text\.)?(token_embedding\.weight|positional_embedding|ln_final\..+|transformer\.resblocks\..+)")

PROJECTIONS = ("visual_projection.weight", "visual.proj", "visual.head.proj.weight")  # of images


class TextTower:
    """A CLIP checkpoint's text side, with the projection of images and the scale of the cosines.

    Args:
        state: the whole checkpoint, under the names of Hugging Face's CLIPModel, of open_clip, or of OpenAI.
        who: what it is, for messages.
        quick_gelu: whether the text tower's activations are OpenAI's approximation of GELU.
    """

    def __init__(self, state: Mapping[str, Tensor], who: str, *, quick_gelu: bool) -> None:
        self._state, self._who, self._quick_gelu = state, who, quick_gelu

    def head(self, classes: Sequence[str], templates: Sequence[str], projected: bool = False) -> ZeroShotHead:
        """The zero-shot classifier of these classes, from the cache if it was made before and its file is whole.

        Each class's embedding is the normalised mean of its normalised prompts' embeddings, as in CLIP (Radford et al.,
        "Learning transferable visual models from natural language supervision", section 3.1.4).

        Args:
            classes: names, in the order of the label ids.
            templates: with one `{}` each for the class's name.
            projected: whether the projection of images belongs to the encoder, and is none of the head's.

        Raises:
            CheckpointError: the checkpoint has no text tower, or its parts do not fit together.
        """
        asked = json.dumps([VERSION, self._identity, list(classes), list(templates), *["projected"] * projected])
        path = cache_root() / "heads" / f"{hashlib.sha256(asked.encode()).hexdigest()[:24]}.safetensors"
        projection = self._projection
        found = kept(path, projection.shape[0 if projected else 1], len(classes), projected)
        if isinstance(found, ZeroShotHead):
            return found
        prompts = self._embed([template.replace("{}", name) for name in classes for template in templates])
        features = (average_prompts(torch.split(prompts, len(templates))) / GRID).round() * GRID
        head = ZeroShotHead(None if projected else projection, features, self._scale).eval()
        if looked_at() is None:
            keep(head, path)
        return head

    @cached_property
    def _parts(self) -> dict[str, Tensor]:
        """The text tower under open_clip's names, float32."""
        own = {m[1]: self._state[n].float() for n in self._state if (m := _OWN.fullmatch(n))}
        try:
            return own or _from_hugging_face(self._state)
        except KeyError as error:
            raise self._misfit(f"it lacks {error}") from None

    def _one_of(self, *names: str) -> tuple[str, Tensor]:
        """The first of these tensors that there is, with its name."""
        name = next((n for n in names if n in self._state), None)
        if name is None:
            raise CheckpointError(
                f"{self._who} has no {names[0]!r}: it is no whole CLIP, and no head can be made from prompts; give the "
                "tasks linear heads (head:, as `mergebench finetune` writes them) or the zoo a text tower (text:)"
            )
        return name, self._state[name].float()

    @property
    def _projection(self) -> Tensor:
        """Of images [embed, width]."""
        name, tensor = self._one_of(*PROJECTIONS)
        return tensor.T.contiguous() if name == "visual.proj" else tensor

    @property
    def _text_projection(self) -> Tensor:
        """Of texts [width, embed]."""
        name, tensor = self._one_of("text_projection.weight", "text_projection", "text.text_projection")
        return tensor.T.contiguous() if name == "text_projection.weight" else tensor

    @property
    def _scale(self) -> Tensor:
        return self._one_of("logit_scale")[1].squeeze().double().exp().float()

    @cached_property
    def _identity(self) -> str:
        """Hash of all that enters a head but for the prompts."""
        tensors = self._parts | {"projection": self._projection, "text_projection": self._text_projection}
        return digest(tensors | {"scale": self._scale, "quick_gelu": torch.tensor(self._quick_gelu)})

    @cached_property
    def _tower(self) -> nn.Module:
        """open_clip's text transformer with this checkpoint's weights, float64."""
        from open_clip.transformer import QuickGELU, TextTransformer

        parts, projection = self._parts, self._text_projection
        try:
            vocabulary, width = parts["token_embedding.weight"].shape
            tower = TextTransformer(
                context_length=len(parts["positional_embedding"]),
                vocab_size=vocabulary,
                width=width,
                heads=max(1, width // HEAD_WIDTH),
                layers=sum(n.endswith(".ln_1.weight") for n in parts),
                mlp_ratio=len(parts["transformer.resblocks.0.mlp.c_fc.weight"]) / width,
                output_dim=projection.shape[1],
                act_layer=QuickGELU if self._quick_gelu else nn.GELU,
            )
            tower.load_state_dict(parts | {"text_projection": projection})
        except KeyError as error:
            raise self._misfit(f"it lacks {error}") from None
        except RuntimeError as error:
            raise self._misfit(str(error).strip().splitlines()[-1].strip()) from None
        made: nn.Module = tower.eval().requires_grad_(False).double()
        return made

    def _misfit(self, reason: str) -> CheckpointError:
        return CheckpointError(f"{self._who}: its text tower does not fit together: {reason}")

    def _embed(self, texts: Sequence[str]) -> Tensor:
        """Texts -> embeddings float64 [len(texts), embed], not normalised.

        Raises:
            MergebenchError: a text that is longer than the tower reads.
        """
        tower, context = self._tower, len(self._parts["positional_embedding"])
        tokens = _tokenizer()(texts, context_length=context + 1)
        ends = tokens.argmax(1)  # the mark of the end is the vocabulary's last token
        if (ends >= context).any():
            text = texts[int(ends.argmax())]
            raise MergebenchError(f"the prompt {text!r} is longer than the {context} tokens that {self._who} reads")
        # A token sees only those before it: what follows the longest text's end need not be computed.
        tokens = tokens[:, : int(ends.max()) + 1]
        tower.attn_mask = torch.full([tokens.shape[1]] * 2, float("-inf"), dtype=torch.float64).triu(1)
        with torch.no_grad():
            return torch.cat([tower(batch) for batch in torch.split(tokens, PROMPTS)])


def is_whole_clip(names: Collection[str]) -> bool:
    """Whether heads can be made from prompts by what has these names: a text tower, and a projection of images.

    (A SigLIP has the former alone: its towers' outputs are compared as they are.)
    """
    return any(name.endswith("token_embedding.weight") for name in names) and any(n in names for n in PROJECTIONS)


def text_activation(path: Path) -> str | None:
    """The activation of a CLIP's text tower, "quick_gelu" or "gelu", as its config.json says; None if it is no CLIP's.

    Raises:
        MergebenchError: another activation, or no JSON.
    """
    try:
        text = json.loads(plain_text(path)).get("text_config")
    except (ValueError, AttributeError, RecursionError) as error:
        raise MergebenchError(f"{path} is no configuration of a model: {error}") from None
    if not isinstance(text, Mapping):
        return None
    activation = text.get("hidden_act", "quick_gelu")  # left out where it is as in the original
    if activation not in ("quick_gelu", "gelu"):
        raise MergebenchError(f"{path}: text_config.hidden_act is {activation!r}; only quick_gelu or gelu can be made")
    return str(activation)


@cache
def _tokenizer() -> Callable[..., Tensor]:
    """open_clip's, which reads its vocabulary from the package."""
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer: Callable[..., Tensor] = SimpleTokenizer()
    return tokenizer


def _from_hugging_face(state: Mapping[str, Tensor]) -> StateDict:
    """A Hugging Face text tower under open_clip's names, which keep query, key and value in one matrix."""
    parts: StateDict = {own: state[name].float() for name, own in _HF_PARTS.items() if name in state}
    for name in state:
        match = _HF_LAYER.fullmatch(name)
        if match is None:
            continue
        number, sublayer, kind = match.groups()
        block = f"transformer.resblocks.{number}"
        if sublayer in _HF_SUBLAYERS:
            parts[f"{block}.{_HF_SUBLAYERS[sublayer]}.{kind}"] = state[name].float()
        elif sublayer == "self_attn.q_proj":
            three = [state[name.replace("q_proj", part)].float() for part in ("q_proj", "k_proj", "v_proj")]
            parts[f"{block}.attn.in_proj_{kind}"] = torch.cat(three)
    return parts
