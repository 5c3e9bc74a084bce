"""Where `mergebench merge` writes: a file, or a folder as timm, transformers or open_clip load it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mergebench.errors import MergebenchError, tell

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from mergebench.weights.encoders import Encoder
    from mergebench.weights.model_folders import Companions


@dataclass
class Target:
    """A place for merged weights.

    Args:
        file: the weights.
        format: whose names they bear.
        whole: whether what describes them lies beside them.
    """

    file: Path
    format: str
    whole: bool
    companions: "Companions" = field(init=False)

    @classmethod
    def of(cls, output: str, format: str) -> "Target":
        """The place that `--output` names: a folder, where it is no name of a safetensors file.

        Raises:
            MergebenchError: the name of another kind of file, or none.
        """
        from mergebench.weights.model_folders import WEIGHTS

        if not output:
            raise MergebenchError("--output: name a file in .safetensors, or a folder")
        path, name = Path(output), WEIGHTS[format]
        if path.suffix == ".safetensors" and not path.is_dir():
            return cls(path, format, format != "timm" and path.name == name)
        if path.is_dir() or not path.suffix or output.endswith("/"):
            return cls(path / name, format, True)
        raise MergebenchError(
            f"--output {path}: weights are written as safetensors; give it a name in .safetensors, or a folder's"
        )

    def prepare(self, encoder: "Encoder", base: "Mapping[str, Tensor]") -> None:
        """Make, before any work, what is written beside the weights.

        Raises:
            MergebenchError: a configuration that cannot be written, or another one that is there already.
        """
        from mergebench.weights.model_folders import Companions, companions

        self.companions = companions(encoder, base, self.format) if self.whole else Companions({}, {}, ())
        for name, content in self.companions.files.items():
            beside = self.file.with_name(name)
            if beside.exists() and (not beside.is_file() or beside.read_bytes() != content):
                raise MergebenchError(
                    f"--output: {beside} is there already and says something else; name a new folder, or take it away"
                )
        for sentence in self.companions.told:
            tell(f"{self.file.parent}: {sentence}")

    def write_files(self) -> None:
        """Write what lies beside the weights."""
        from mergebench.weights.writing import writing

        for name, content in self.companions.files.items():
            with writing(self.file.with_name(name)) as temporary:
                temporary.write_bytes(content)
