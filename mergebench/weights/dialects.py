"""How timm, Hugging Face and open_clip name the tensors of vision transformers: tables, read both ways."""

from mergebench.weights.rules import PROJECTION, Dialect, Rule


def _both(timm: str, *theirs: str) -> tuple[Rule, Rule]:
    """A layer's weight and bias."""
    weight, bias = (Rule(f"{timm}.{p}", tuple(f"{name}.{p}" for name in theirs)) for p in ("weight", "bias"))
    return weight, bias


# A block as Hugging Face's CLIP and SigLIP have it.
_BLOCK = (
    *_both("blocks.{}.norm1", "encoder.layers.{}.layer_norm1"),
    *_both("blocks.{}.attn.qkv", *(f"encoder.layers.{{}}.self_attn.{part}_proj" for part in "qkv")),
    *_both("blocks.{}.attn.proj", "encoder.layers.{}.self_attn.out_proj"),
    *_both("blocks.{}.norm2", "encoder.layers.{}.layer_norm2"),
    *_both("blocks.{}.mlp.fc1", "encoder.layers.{}.mlp.fc1"),
    *_both("blocks.{}.mlp.fc2", "encoder.layers.{}.mlp.fc2"),
)

HUGGING_FACE = Dialect(
    name="hf",
    title="Hugging Face CLIP vision model",
    prefixes=("vision_model.", ""),
    rules=(
        Rule("cls_token", ("embeddings.class_embedding",), leading=2),
        Rule("pos_embed", ("embeddings.position_embedding.weight",), leading=1),
        Rule("patch_embed.proj.weight", ("embeddings.patch_embedding.weight",)),
        *_both("norm_pre", "pre_layrnorm"),  # sic
        *_BLOCK,
        *_both("norm", "post_layernorm"),
    ),
    inside=("embeddings.position_ids",),
    beside=("text_model.", "text_projection.weight", "visual_projection.weight", "logit_scale"),
    projected=Rule(PROJECTION, ("{wrapper}visual_projection.weight",)),
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
    parts=("attn_pool",),
    projected=Rule(PROJECTION, ("{prefix}proj",), transposed=True),
)

TIMM = Dialect(
    name="timm",
    title="timm VisionTransformer",
    prefixes=("", "visual.trunk."),  # the latter in open_clip's models whose vision tower is timm's
    rules=tuple(Rule(rule.timm, (rule.timm,)) for rule in HUGGING_FACE.rules),
    beside=("visual.head.", *_TEXT_TOWER),
    heads=("head.", "mask_token"),  # the latter stands for hidden patches while DINOv2 is trained
    parts=("reg_token", "dist_token", "norm_pre", "fc_norm", "attn_pool"),
    complete=False,  # there are many; the architecture says what each must have
    projected=Rule(PROJECTION, ("{wrapper}visual.head.proj.weight",)),  # of open_clip's models, as above
)

# What Hugging Face's ViT and DINOv2 have in common.
_EMBEDDINGS = (
    Rule("cls_token", ("embeddings.cls_token",)),
    Rule("pos_embed", ("embeddings.position_embeddings",)),
    *_both("patch_embed.proj", "embeddings.patch_embeddings.projection"),
    *_both("norm", "layernorm"),
)


def _attention(block: str, q: str, k: str, v: str, out: str) -> tuple[Rule, ...]:
    """Attention in blocks of theirs, with the names of its layers."""
    parts = (f"{block}.attention.{part}" for part in (q, k, v))
    return *_both("blocks.{}.attn.qkv", *parts), *_both("blocks.{}.attn.proj", f"{block}.attention.{out}")


# In files, and in the memory of transformers since version 5.
_OLD = ("attention.query", "attention.key", "attention.value", "output.dense")
_NEW = ("q_proj", "k_proj", "v_proj", "o_proj")


def _vit(block: str, attention: tuple[str, ...], fc1: str, fc2: str) -> Dialect:
    return Dialect(
        name="hf",
        title="Hugging Face ViT",
        prefixes=("", "vit."),
        rules=(
            *_EMBEDDINGS,
            *_both("blocks.{}.norm1", f"{block}.layernorm_before"),
            *_attention(block, *attention),
            *_both("blocks.{}.norm2", f"{block}.layernorm_after"),
            *_both("blocks.{}.mlp.fc1", f"{block}.{fc1}"),
            *_both("blocks.{}.mlp.fc2", f"{block}.{fc2}"),
        ),
        heads=("pooler.", "embeddings.mask_token"),
    )


def _dinov2(attention: tuple[str, ...], fc1: tuple[str, ...], fc2: str) -> Dialect:
    block = "encoder.layer.{}"
    return Dialect(
        name="hf",
        title="Hugging Face DINOv2",
        prefixes=("", "dinov2."),
        rules=(
            *_EMBEDDINGS,
            *_both("blocks.{}.norm1", f"{block}.norm1"),
            *_attention(block, *attention),
            Rule("blocks.{}.ls1.gamma", (f"{block}.layer_scale1.lambda1",)),
            *_both("blocks.{}.norm2", f"{block}.norm2"),
            *_both("blocks.{}.mlp.fc1", *(f"{block}.mlp.{name}" for name in fc1)),
            *_both("blocks.{}.mlp.fc2", f"{block}.mlp.{fc2}"),
            Rule("blocks.{}.ls2.gamma", (f"{block}.layer_scale2.lambda1",)),
        ),
        heads=("embeddings.mask_token",),
    )


VIT = _vit("encoder.layer.{}", _OLD, "intermediate.dense", "output.dense")
DINOV2 = _dinov2(_OLD, ("fc1",), "fc2")
DINOV2_GATED = _dinov2(_OLD, ("weights_in",), "weights_out")  # its largest has gates in its blocks

SIGLIP = Dialect(
    name="hf",
    title="Hugging Face SigLIP vision model",
    prefixes=("vision_model.", ""),
    rules=(
        Rule("pos_embed", ("embeddings.position_embedding.weight",), leading=1),
        *_both("patch_embed.proj", "embeddings.patch_embedding"),
        *_BLOCK,
        *_both("norm", "post_layernorm"),
        Rule("attn_pool.latent", ("head.probe",)),
        *(
            Rule(f"attn_pool.{timm}.{part}", (f"head.attention.in_proj_{part}",), thirds=thirds)
            for timm, thirds in (("q", (0, 1)), ("kv", (1, 3)))
            for part in ("weight", "bias")
        ),
        *_both("attn_pool.proj", "head.attention.out_proj"),
        *_both("attn_pool.norm", "head.layernorm"),
        *_both("attn_pool.mlp.fc1", "head.mlp.fc1"),
        *_both("attn_pool.mlp.fc2", "head.mlp.fc2"),
    ),
    inside=("embeddings.position_ids",),
    beside=("text_model.", "logit_scale", "logit_bias"),
)

# By the names that options have for them: what is written, the first of a name that can hold an encoder.
DIALECTS = {dialect.name: dialect for dialect in (TIMM, HUGGING_FACE, OPEN_CLIP)}
WRITTEN = (TIMM, HUGGING_FACE, OPEN_CLIP, VIT, DINOV2, DINOV2_GATED, SIGLIP)
# What is read besides: names that are in memory alone.
READ = (
    *WRITTEN,
    _vit("layers.{}", _NEW, "mlp.fc1", "mlp.fc2"),
    _dinov2(_NEW, ("fc1",), "fc2"),
    _dinov2(_NEW, ("gate_proj", "up_proj"), "down_proj"),
)
