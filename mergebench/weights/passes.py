"""A forward pass of shapes alone: what an encoder's modules give for an image, without any computing."""

import torch
from torch import Tensor, nn
from torch.func import functional_call


def image_size_of(encoder: nn.Module, otherwise: int) -> tuple[int, int]:
    """Height and width in pixels of the images that an encoder says it takes; this many where it does not."""
    told = getattr(encoder, "pretrained_cfg", None) or getattr(encoder, "default_cfg", None) or {}
    size = getattr(getattr(encoder, "patch_embed", None), "img_size", None) or told.get("input_size")
    return tuple(size[-2:]) if size else (otherwise, otherwise)


def outputs_of(encoder: nn.Module, size: tuple[int, int]) -> list[int]:
    """How many numbers each module without modules in it gives for an image of so many pixels.

    Raises:
        Exception: of any kind, where the encoder does not take such images.
    """
    tensors = {n: t.to("meta") for n, t in (*encoder.named_parameters(), *encoder.named_buffers())}
    counts: list[int] = []

    def count(_: nn.Module, __: tuple[object, ...], output: object) -> None:
        parts = output if isinstance(output, tuple) else (output,)
        counts.extend(part.numel() for part in parts if isinstance(part, Tensor))

    modes = {module: module.training for module in encoder.modules()}
    encoder.eval()  # else a batch norm refuses one number a channel
    hooks = [m.register_forward_hook(count) for m in encoder.modules() if not next(m.children(), None)]
    try:
        with torch.no_grad():
            precision = next(t.dtype for t in tensors.values() if t.is_floating_point())
            functional_call(encoder, tensors, (torch.empty(1, 3, *size, dtype=precision, device="meta"),))
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    return counts
