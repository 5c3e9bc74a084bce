"""What lies beside merged weights so that timm, transformers or open_clip load the folder as it is."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mergebench.errors import MergebenchError
from mergebench.weights.dialects import HUGGING_FACE, OPEN_CLIP, VIT
from mergebench.weights.encoders import NORM_EPS, Encoder
from mergebench.weights.hugging_face_configs import activation, vision_config
from mergebench.weights.reading import plain_text
from mergebench.weights.resizing import as_read
from mergebench.weights.states import StateDict, shape_of
from mergebench.weights.translation import TranslatedState, dialect_for
from mergebench.weights.vision_transformers import as_transformer

# What the weights are called in each library's folder.
WEIGHTS = {"timm": "model.safetensors", "hf": "model.safetensors", "open_clip": "open_clip_model.safetensors"}

# Parts of a whole model beside its image encoder, under each library's names.
PARTS = {
    HUGGING_FACE: re.compile(r"text_model\..+|(text|visual)_projection\.weight|logit_scale"),
    OPEN_CLIP: re.compile(
        r"visual\.proj|token_embedding\.weight|positional_embedding|text_projection|logit_(scale|bias)|"
        r"(transformer|ln_final)\..+"
    ),
    VIT: re.compile(r"pooler\.dense\.(weight|bias)"),
}
TEXT = {"hf": "text_model.embeddings.token_embedding.weight", "open_clip": "token_embedding.weight"}
VISUAL = {"hf": "visual_projection.weight", "open_clip": "visual.proj"}  # which may be the encoder's
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json")
HEAD_WIDTH = 64  # of every published CLIP's text tower


@dataclass(frozen=True)
class Companions:
    """What goes out with an encoder's weights.

    Args:
        others: tensors of the base's other parts, under the names of the library that they are written for.
        files: name -> content of the files beside.
        told: sentences for people.
    """

    others: StateDict
    files: dict[str, bytes]
    told: tuple[str, ...]


def companions(encoder: Encoder, base: Mapping[str, Tensor], format: str) -> Companions:
    """What a folder of merged weights holds beside them.

    Args:
        encoder: what the merged weights are of.
        base: the pre-trained weights, as they are read from their file.
        format: "timm", "hf" or "open_clip".

    Raises:
        MergebenchError: an encoder that the library's configuration cannot say.
    """
    if encoder.alternative:
        raise MergebenchError(
            f"--format {format}: a folder's configuration says the activation, and nothing tells whether the base is "
            f"{encoder.name} or {encoder.alternative}: give --encoder, or a base with a config.json beside it"
        )
    others, told = _parts(base, format)
    files = {"hf": _hugging_face, "open_clip": _open_clip, "timm": _timm}[format](encoder, base, others)
    if format == "open_clip" and not files:
        told += ("no configuration is written: open_clip makes whole CLIPs alone, and the base has no text tower",)
    return Companions(others, {n: c if isinstance(c, bytes) else _json(c) for n, c in files.items()}, told)


def _parts(base: Mapping[str, Tensor], format: str) -> tuple[StateDict, tuple[str, ...]]:
    """The base's other parts under the names that a whole model has, and what is to be told of them."""
    base = as_read(base)
    if not isinstance(base, TranslatedState):
        return {}, ()
    kept = PARTS.get(base.dialect)
    wrapper = base.wrapper
    names = {name.removeprefix(wrapper): name for name in base.others}
    names = {own: name for own, name in names.items() if kept and kept.fullmatch(own)}
    if not names:
        left = any(base.dialect.is_known(name, base.prefix) for name in base.others if not name.startswith(base.prefix))
        return {}, ("the encoder alone is written, without the base's other parts",) * left
    if base.dialect.name != format:
        return {}, (
            f"the encoder alone is written: the base's other parts have {base.dialect.title}'s names; "
            f"--format {base.dialect.name} writes the whole model",
        )
    what = f"{', '.join(map(repr, names))} is"
    if TEXT.get(format) in names:
        projections = "projections" if VISUAL[format] in names else "projection"
        what = f"text tower and {projections} are"
    return {own: base.source[name] for own, name in names.items()}, (f"{what} the base's",)


def _hugging_face(encoder: Encoder, base: Mapping[str, Tensor], others: StateDict) -> dict[str, Any]:
    config = vision_config(encoder.projected(None), dialect_for(encoder.make().state_dict(), "hf"))
    projection = encoder.projection or len(others.get("visual_projection.weight", ()))
    size = {"projection_dim": projection} if projection else {}
    beside = _beside(base, "config.json")
    if TEXT["hf"] in others:
        text = _beside_part(beside, "text_config") or _text_config(others, config["hidden_act"])
        vision = {name: value for name, value in config.items() if name not in ("architectures", "model_type")}
        config = {"architectures": ["CLIPModel"], "model_type": "clip", **size}
        config |= {"text_config": text | size, "vision_config": vision | size}
    elif projection:
        config |= {"architectures": ["CLIPVisionModelWithProjection"], **size}
    config["dtype"] = _main_dtype(base)
    side = encoder.image_size
    preprocessor = {
        "image_processor_type": "CLIPImageProcessor", "do_convert_rgb": True, "do_resize": True,
        "size": {"shortest_edge": side}, "resample": 3, "do_center_crop": True,
        "crop_size": {"height": side, "width": side}, "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": list(encoder.mean), "image_std": list(encoder.std),
    }  # fmt: skip
    files: dict[str, Any] = {"config.json": config, "preprocessor_config.json": preprocessor}
    path = getattr(base, "path", None)
    if TEXT["hf"] in others and path is not None:
        files |= {n: path.with_name(n).read_bytes() for n in TOKENIZER if path.with_name(n).is_file()}
    return files


def _text_config(others: StateDict, activation: str) -> dict[str, Any]:
    """A text tower's configuration from its shapes, where none lies beside it."""
    vocabulary, width = others[TEXT["hf"]].shape
    return {
        "hidden_size": width, "vocab_size": vocabulary, "num_attention_heads": max(1, width // HEAD_WIDTH),
        "intermediate_size": len(others["text_model.encoder.layers.0.mlp.fc1.weight"]),
        "num_hidden_layers": sum(name.endswith("layer_norm1.weight") for name in others),
        "max_position_embeddings": len(others["text_model.embeddings.position_embedding.weight"]),
        "hidden_act": activation,
    }  # fmt: skip


def _open_clip(encoder: Encoder, base: Mapping[str, Tensor], others: StateDict) -> dict[str, Any]:
    if TEXT["open_clip"] not in others or not (encoder.projection or "visual.proj" in others):
        return {}
    made = as_transformer(encoder.make())
    block = made.blocks[0]
    vocabulary, width = others[TEXT["open_clip"]].shape
    text = {
        "context_length": len(others["positional_embedding"]), "vocab_size": vocabulary, "width": width,
        "heads": max(1, width // HEAD_WIDTH), "layers": sum(name.endswith(".ln_1.weight") for name in others),
        "mlp_ratio": len(others["transformer.resblocks.0.mlp.c_fc.weight"]) / width,
    }  # fmt: skip
    vision = {
        "image_size": encoder.image_size, "layers": len(made.blocks), "width": made.embed_dim,
        "patch_size": made.patch_embed.patch_size[0], "head_width": made.embed_dim // block.attn.num_heads,
        "mlp_ratio": block.mlp.fc1.out_features / made.embed_dim,
    }  # fmt: skip
    beside = _beside_part(_beside(base, "open_clip_config.json"), "model_cfg")
    text |= _beside_part(beside, "text_cfg")
    model = {
        "embed_dim": encoder.projection or others["visual.proj"].shape[1],
        "quick_gelu": activation(encoder, block.mlp.act) == "quick_gelu",
        "vision_cfg": vision,
        "text_cfg": text,
    }
    scales = {"mean": list(encoder.mean), "std": list(encoder.std)}
    preprocess = {**scales, "interpolation": "bicubic", "resize_mode": "shortest"}
    return {"open_clip_config.json": {"model_cfg": model, "preprocess_cfg": preprocess}}


def _timm(encoder: Encoder, base: Mapping[str, Tensor], others: StateDict) -> dict[str, Any]:
    if ":" in encoder.name:  # which timm cannot make
        return {}
    if NORM_EPS in encoder.options:
        raise MergebenchError(
            f"--format timm: timm's config.json cannot say that norms have epsilon {encoder.options[NORM_EPS]}; write "
            "a folder with --format hf, or name a file (.safetensors)"
        )
    if encoder.projection:
        raise MergebenchError(
            "--format timm: timm's config.json cannot say that the projection is the encoder's; write a folder with "
            "--format hf or open_clip, or name a file (.safetensors)"
        )
    side = encoder.image_size
    told = {"mean": list(encoder.mean), "std": list(encoder.std), "input_size": [3, side, side], "num_classes": 0}
    config = {"architecture": encoder.name, "num_classes": 0, "model_args": encoder.arguments}
    return {"config.json": config | {"pretrained_cfg": told}}


def _main_dtype(base: Mapping[str, Tensor]) -> str:
    """The number format of the largest matrix of the base."""
    name = max(base, key=lambda name: math.prod(shape_of(base, name)))
    return str(base[name].dtype).removeprefix("torch.")


def _beside(base: Mapping[str, Tensor], name: str) -> dict[str, Any]:
    """What a JSON file beside the base says; nothing if there is none."""
    path: Path | None = getattr(base, "path", None)
    try:
        told = json.loads(plain_text(path.with_name(name))) if path else {}
    except (ValueError, OSError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _beside_part(told: dict[str, Any], name: str) -> dict[str, Any]:
    part = told.get(name)
    return part if isinstance(part, dict) else {}


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
