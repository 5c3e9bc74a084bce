"""Heads that were made and are kept: a file that does not prove to be the one that was written is none."""

from pathlib import Path

from mergebench.errors import CheckpointError, tell
from mergebench.weights.states import SafetensorsState, digest, save_state
from mergebench.weights.writing import put_aside
from mergebench.zoo.heads import Head, load_head


def keep(head: Head, path: Path) -> None:
    """Write a head with the digest of its tensors in the header.

    Raises:
        MergebenchError: the place cannot be written.
    """
    state = head.state_dict()
    put_aside(path)
    save_state(state, path, {"digest": digest(state)})


def kept(path: Path, width: int, classes: int, projected: bool = False) -> Head | None:
    """The head in a file; None where there is none that proves to be the one that was written.

    Args:
        path: the file.
        width: of the backbone's features.
        classes: how many the task has.
        projected: as of `load_head`.
    """
    if not path.exists():
        return None
    try:
        state = SafetensorsState(path)
        if state.metadata.get("digest") == digest(state):
            return load_head(state, width, classes, str(path), projected)
        if "digest" not in state.metadata:  # earlier versions kept none, and nothing is wrong with what they made
            return None
    except CheckpointError:
        pass
    tell(f"the head kept in {path} is damaged, or was changed; it is made again")
    return None
