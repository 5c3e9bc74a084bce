"""An encoder's own features, and gradients, for less: equal but for rounding.

What the last block makes of other tokens than the class token is read by nobody, where features are that token's.
Queries, keys and values are three products: their gradients need not be put side by side again.
"""

from typing import TypeGuard

import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from mergebench.merging.chains import chain_of

# What of an encoder has to be timm's own for its forward pass to be the one that is gone through here.
OWN = ("forward", "forward_features", "forward_head", "pool")


def is_known(encoder: nn.Module) -> TypeGuard[VisionTransformer]:
    """Whether an encoder is a vision transformer whose forward pass is embedding, blocks, norm, pooling."""
    return (
        isinstance(encoder, VisionTransformer)
        and not encoder.grad_checkpointing
        and all(getattr(type(encoder), name) is getattr(VisionTransformer, name) for name in OWN)
    )


def is_plain(block: nn.Module) -> TypeGuard[Block]:
    """Whether a block is attention and then perceptron, each added to what comes in, as `block_output` has it."""
    return type(block) is Block and type(block.attn) is Attention and type(block.attn.qkv) is nn.Linear


def features_of(encoder: nn.Module, images: Tensor) -> Tensor:
    """`encoder(images)` for images [B, 3, H, W]: [B, width]."""
    if not is_known(encoder):
        features: Tensor = encoder(images)
        return features
    chain = chain_of(encoder)
    tokens = chain.embed(encoder, images)
    first_alone = encoder.global_pool == "token" and encoder.attn_pool is None
    for number, block in enumerate(encoder.blocks, 1):
        if is_plain(block):
            tokens = block_output(block, tokens, 1 if first_alone and number == len(encoder.blocks) else None)
        else:
            tokens = block(tokens)
    return chain.read(encoder, tokens)


def block_output(block: Block, tokens: Tensor, count: int | None = None) -> Tensor:
    """A block's output at the first tokens: the others are keys and values for them.

    Args:
        block: a plain one.
        tokens: [B, N, D].
        count: of tokens that come out; all, if None.

    Returns:
        [B, count, D].
    """
    normed = block.norm1(tokens)
    if count is None:
        queries = normed
    else:
        tokens, queries = tokens[:, :count], normed[:, :count]
    assert isinstance(block.attn, Attention)  # as that of a plain block is
    tokens = tokens + block.drop_path1(block.ls1(attended(block.attn, queries, normed)))
    added: Tensor = block.drop_path2(block.ls2(block.mlp(block.norm2(tokens))))
    return tokens + added


def attended(attention: Attention, queries: Tensor, tokens: Tensor) -> Tensor:
    """Self-attention's output [B, M, D] at some tokens [B, M, D], out of all tokens [B, N, D]."""
    layer = attention.qkv
    weights = layer.weight.chunk(3)
    biases = (None,) * 3 if layer.bias is None else layer.bias.chunk(3)
    query, key, value = (
        torch.unflatten(functional.linear(x, weight, bias), 2, (attention.num_heads, -1)).transpose(1, 2)
        for x, weight, bias in zip((queries, tokens, tokens), weights, biases, strict=True)
    )
    query, key = attention.q_norm(query), attention.k_norm(key)
    mixed = functional.scaled_dot_product_attention(query, key, value, scale=attention.scale)
    mixed = attention.norm(mixed.transpose(1, 2).flatten(2))
    if attention.gate is not None:
        mixed = mixed * attention.gate(queries).sigmoid()
    given: Tensor = attention.proj_drop(attention.proj(mixed))
    return given
