"""A training's progress: one file, which says itself of which training it is."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer

from mergebench.errors import MergebenchError
from mergebench.weights.writing import check_writable, writing


def progress_file(folder: Path) -> Path:
    """Where a training's progress is kept.

    Raises:
        MergebenchError: it cannot be written there.
    """
    file = folder / "progress.ckpt"
    check_writable(file)
    for left in folder.glob(f".{file.name}.*"):  # by one that was killed while it wrote
        with contextlib.suppress(OSError):
            left.unlink(missing_ok=True)
    return file


class Progress:
    """Keeps a training's progress, and finds it again.

    Args:
        folder: where; one training's alone.
        settings: what tells this training from others, as JSON can hold it.

    Raises:
        MergebenchError: the folder cannot be written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.file, self.settings = progress_file(folder), json.dumps(settings)

    def unfinished(self) -> Path | None:
        """The file, if this very training was begun before.

        Raises:
            MergebenchError: it is another training's, or not whole.
        """
        if not self.file.exists():
            return None
        try:
            kept = torch.load(self.file, map_location="cpu", weights_only=True, mmap=True)
        except Exception:  # whatever a broken file makes torch's readers stumble over
            raise MergebenchError(
                f"{self.file} is no checkpoint, or not whole; name another folder, or delete it"
            ) from None
        self.check(kept)
        return self.file

    def check(self, checkpoint: Mapping[str, Any]) -> None:
        """Refuses another training's checkpoint: it would be taken for this one's.

        Raises:
            MergebenchError: the setting that differs.
        """
        if "settings" not in checkpoint:  # as earlier versions wrote it
            raise MergebenchError(
                f"{self.file} does not say of which training it is; name another folder, or delete it"
            )
        before = json.loads(checkpoint["settings"])
        for name, value in json.loads(self.settings).items():
            if before.get(name) != value:
                raise MergebenchError(
                    f"{self.file.parent} holds the checkpoint of another training ({name} {before.get(name)!r}, not "
                    f"{value!r}); name another folder, or delete it"
                )

    def save(self, trainer: Trainer) -> None:
        """Keeps where a training stands; of several devices, all take part and the first writes.

        Raises:
            MergebenchError: the file cannot be written; the one before it is intact.
        """
        # Lightning's own way of writing a file whole goes through another folder, perhaps on another disk.
        with writing(self.file) if trainer.is_global_zero else contextlib.nullcontext(self.file) as place:
            trainer.save_checkpoint(place)
