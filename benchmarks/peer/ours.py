"""One merge by mergebench, in a process of its own: python ours.py COMPARISON INPUTS RESULT."""

import sys
from pathlib import Path

from inputs import Inputs
from safetensors.torch import save_file
from settings import COMPARISONS
from watching import watched

from mergebench import merge
from mergebench.catalogue.ready import ready
from mergebench.weights import formats
from mergebench.weights.encoders import Encoder
from mergebench.zoo.heads import ZeroShotHead


def main(name: str, place: str, result: str) -> None:
    """Merge, print what it took, write the merged weights."""
    comparison, given = COMPARISONS[name], Inputs(Path(place))
    size = given.size
    options = {
        "depth": size.blocks, "embed_dim": size.width, "num_heads": size.width // 64, "img_size": size.image,
        "patch_size": size.patch, "norm_eps": 1e-5,
    }  # fmt: skip
    encoder = Encoder("vit_base_patch32_clip_quickgelu_224", options).make()
    base, experts = (_in_timm(state, encoder) for state in (given.base, given.experts))
    encoder.load_state_dict(base)
    scale = given.heads["projection"].new_tensor(100.0)
    heads = {t: ZeroShotHead(given.heads["projection"], given.heads[t], scale) for t in size.names}
    batches = {t: list(images.split(64)) for t, images in given.images.items()}
    del given
    ready(comparison.method, comparison.ours)  # as the peer's class is imported before it is watched
    with watched():
        merged = merge(comparison.method, encoder, experts, calibration=batches, heads=heads, **comparison.ours)
    save_file(formats.from_timm(merged, "hf"), result)


def _in_timm(state: dict, encoder: object) -> dict:
    if isinstance(next(iter(state.values())), dict):
        return {name: _in_timm(one, encoder) for name, one in state.items()}
    translated = formats.as_timm(state, "a model", tuple(encoder.state_dict()))
    return {name: translated[name] for name in encoder.state_dict()}


if __name__ == "__main__":
    main(*sys.argv[1:])
