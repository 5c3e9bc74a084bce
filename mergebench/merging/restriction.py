"""Merging a part of the encoder only: inside the region what the method gives, outside the experts' average."""

from collections.abc import Collection, Sequence

from mergebench.configuration import REGIONS, RestrictConfig
from mergebench.errors import MergebenchError
from mergebench.merging.layout import Layout

COMPONENTS = {"attention": "attn", "mlp": "mlp"}  # as timm names a block's sub-layers


def region(config: RestrictConfig, layout: Layout) -> Collection[str] | None:
    """Names of the parameters inside the region; None if it is the whole encoder.

    Embedding and final norm lie in no region but the whole; a block's norms belong to the block, to no component.

    Args:
        config: which blocks, and which component of them. Of n blocks, block i lies in third floor(3 i / n).
        layout: the encoder's structure.

    Raises:
        MergebenchError: a block, or a component, that the encoder does not have.
    """
    if config == RestrictConfig():
        return None
    if not layout.in_sequence:
        raise MergebenchError("restrict: of this encoder no blocks are known that follow each other; leave it out")
    count = len(layout.blocks)
    if config.blocks == "all":
        chosen: Sequence[int] = range(count)
    elif isinstance(config.blocks, str):
        chosen = [i for i in range(count) if REGIONS[3 * i // count] in config.blocks.split("+")]
    else:
        chosen = config.blocks
        absent = [i for i in chosen if not 0 <= i < count]
        if absent:
            raise MergebenchError(f"restrict: no block {absent[0]}; the encoder has blocks 0 to {count - 1}")
    component = COMPONENTS.get(config.component)
    prefixes = tuple(layout.blocks[i].prefix + (f"{component}." if component else "") for i in chosen)
    inside = frozenset(n for n in layout.shapes if n.startswith(prefixes))
    if component and chosen and not inside:
        raise MergebenchError(f"restrict: these blocks have no component {config.component!r}; leave it out")
    return inside
