"""What files say of the encoder that their weights are of: a checkpoint's header, a config.json beside it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mergebench import registry
from mergebench.encoders import Encoder, encoder_of_config
from mergebench.errors import CheckpointError, MergebenchError
from mergebench.yaml_files import read_zoo


def noted_encoder(metadata: Mapping[str, str], who: str) -> Encoder | None:
    """The encoder that `finetune` or `merge` noted in a checkpoint's header, if one of them wrote it.

    Args:
        metadata: the header's.
        who: the file, for messages.

    Raises:
        CheckpointError: a note that cannot be read.
        MergebenchError: it names code that is no registered zoo's: a file that is read must not choose what is run.
    """
    try:
        noted = json.loads(metadata.get("recipe", "{}")).get("encoder")
        if noted is None:
            return None
        scales = (tuple(noted["mean"]), tuple(noted["std"])) if "mean" in noted else None
        encoder = Encoder(str(noted["name"]), dict(noted.get("options", {})), scales)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise CheckpointError(f"{who}: the recipe in its header cannot be read; give --encoder") from None
    registered = {read_zoo(zoo).encoder for zoo in registry.config_files("zoos")}
    if ":" in encoder.name and encoder.name not in registered:
        raise MergebenchError(
            f"{who} says that {encoder.name} makes its encoder; if you trust that code, give --encoder"
        )
    return encoder


def described_encoder(path: Path) -> Encoder:
    """The encoder that a config.json describes, timm's or that of a Hugging Face CLIP.

    Raises:
        MergebenchError: it cannot be read, or describes another model.
    """
    try:
        config: Any = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise MergebenchError(f"{path} cannot be read ({error}); name the encoder") from None
    return encoder_of_config(config, str(path))
