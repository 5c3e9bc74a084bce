"""What is said of adapters where whole weights are asked for, or where one cannot be read."""

from mergebench.errors import CheckpointError


def merge_it(who: str) -> str:
    """The remedy where an adapter cannot be read, or none is meant."""
    return f"add it to {who} with peft (merge_and_unload, then save_pretrained) and name what that writes"


def refused(what: str, way: str = "") -> CheckpointError:
    """The refusal of an adapter where whole weights are asked for.

    Args:
        what: the adapter.
        way: what else can be done, begun by a semicolon.
    """
    return CheckpointError(
        f"{what} is of a LoRA adapter, a difference from its base and no whole encoder: {merge_it('the base')}{way}"
    )
