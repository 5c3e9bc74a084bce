"""A LoRA adapter in the folder that peft writes: its configuration, and its tensors by what they do to which layer."""

import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from mergebench.errors import CheckpointError
from mergebench.weights.adapter_refusals import merge_it
from mergebench.weights.footing import rests_on
from mergebench.weights.pickles import PickledState
from mergebench.weights.reading import plain_text
from mergebench.weights.states import AGAIN, LazyState, SafetensorsState

ADAPTER_CONFIG, ADAPTER_WEIGHTS, ADAPTER_PICKLE = ADAPTER = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
)

# What makes something else of an adapter than a sum of base and B A; empty where it is not used.
OTHERWISE = (
    "use_dora", "use_qalora", "use_bdlora", "layer_replication", "alora_invocation_tokens", "arrow_config",
    "target_parameters", "trainable_token_indices", "kasa_config", "monteclora_config", "megatron_config",
)  # fmt: skip
# Starts that change the base itself: what is stored is no difference from the weights that the base's file holds.
SHIFTED = ("pissa", "olora", "loftq", "corda", "lora_ga")

PART = re.compile(r"(?P<module>.+?)\.lora_(?P<factor>[AB])(?:\.[^.]+)?\.(?P<kind>weight|bias)")
LONGEST, REPEATS = 256, 3  # of names and patterns, and of repetitions in one: a pattern can take for ever to match


def adapter_in(folder: Path) -> Path | None:
    """The file of a folder that tells that it holds an adapter, if one does."""
    return next((folder / name for name in ADAPTER if (folder / name).is_file()), None)


class Change(NamedTuple):
    """What an adapter does to one tensor of the model that it was trained on.

    Args:
        up: B's name, or the added bias's.
        down: A's name; None where nothing is multiplied by it.
        scale: of what is added.
    """

    up: str
    down: str | None
    scale: float


class AdapterState(LazyState):
    """The tensors of a LoRA adapter, under the names that its file has.

    Args:
        path: its folder, or either file in it.

    Raises:
        CheckpointError: a file that is missing, damaged or needs code; a kind of adapter that is not read.
    """

    path: Path

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        folder = path if path.is_dir() else path.parent
        self.config = _config(folder / ADAPTER_CONFIG)
        weights = folder / ADAPTER_WEIGHTS
        if not weights.is_file() and (folder / ADAPTER_PICKLE).is_file():  # as earlier releases of peft wrote it
            weights = folder / ADAPTER_PICKLE
        if not weights.is_file():
            raise CheckpointError(f"{folder} holds {ADAPTER_CONFIG} and no {ADAPTER_WEIGHTS}; download or copy both")
        self._file = PickledState(weights) if weights.name == ADAPTER_PICKLE else SafetensorsState(weights)
        super().__init__(self._file, weights, self._file.metadata)
        self.changes, self.whole = self._sorted()

    def __getitem__(self, name: str) -> Tensor:
        return self._file[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape from the file's header."""
        return self._file.shape(name)

    @property
    def told(self) -> str:
        """What it is, for people."""
        base = self.config.get("base_model_name_or_path")
        ranks = sorted({self.shape(change.down)[0] for change in self.changes.values() if change.down})
        told = f"a LoRA adapter of rank {' to '.join(map(str, dict.fromkeys((ranks[0], ranks[-1]))))}"
        return f"{told} (of {base!r})" if isinstance(base, str) and base else told

    def _sorted(self) -> tuple[dict[str, Change], dict[str, str]]:
        """Tensor of the model -> what is added to it; and tensor -> the name of what takes its place."""
        found: dict[str, dict[str, str]] = {}
        whole: dict[str, str] = {}
        for name in self:
            if ".base_layer.out_proj.lora_" in name:
                # peft 0.21 adds the projection's B A twice, in forward passes and merges alike; others may not.
                raise CheckpointError(
                    f"{self.path} has {name!r}: it adapts torch's own attention, which releases of peft do not do "
                    f"alike; {merge_it('its base')}, in the release that trained it"
                )
            own = name.removeprefix("base_model.model.").replace(".base_layer.", ".")
            part = PART.fullmatch(own)
            if part is not None:
                found.setdefault(part["module"], {})[part["factor"] + part["kind"][0]] = name
            elif ".lora_" in f".{own}":
                raise CheckpointError(
                    f"{self.path} has {name!r}, which is no factor of a linear layer's; {merge_it('its base')}"
                )
            elif ".original_module." not in own:  # the base's, beside what was saved in its place
                plain = own.replace(".modules_to_save.", ".")
                if plain == own or f"base_model.model.{plain}" not in self:
                    whole[plain] = name
        if not found:
            raise CheckpointError(f"{self.path} has no lora_A and lora_B; {AGAIN}")
        changes: dict[str, Change] = {}
        for module, parts in found.items():
            changes |= self._of_module(module, parts)
        return changes, whole

    def _of_module(self, module: str, parts: Mapping[str, str]) -> dict[str, Change]:
        if not {"Aw", "Bw"} <= parts.keys():
            lacking = "lora_A" if "Aw" not in parts else "lora_B"
            raise CheckpointError(f"{self.path}: {module!r} lacks its {lacking}; {AGAIN}")
        down, up = self.shape(parts["Aw"]), self.shape(parts["Bw"])
        if len(down) < 2 or len(up) < 2 or down[0] != up[1] or not down[0]:
            raise CheckpointError(f"{self.path}: lora_A {down} and lora_B {up} of {module!r} do not fit; {AGAIN}")
        rank = self._setting("rank_pattern", module, self.config["r"])
        if rank != down[0]:
            raise CheckpointError(
                f"{self.path}: {module!r} is of rank {down[0]}, but {rank} by {ADAPTER_CONFIG}; are both files one's?"
            )
        alpha = self._setting("alpha_pattern", module, self.config.get("lora_alpha", 8))
        scale = alpha / (rank**0.5 if self.config.get("use_rslora") else rank)
        made = {f"{module}.weight": Change(parts["Bw"], parts["Aw"], scale)}
        if "Bb" in parts:
            made[f"{module}.bias"] = Change(parts["Bb"], None, scale)
        return made

    def _setting(self, field: str, module: str, default: float) -> float:
        """What holds for a module: of the first pattern that matches its name, or the end of it behind a dot."""
        for pattern, value in self._patterns[field]:
            if len(module) <= LONGEST and pattern.fullmatch(module):
                return value
        return default

    @cached_property
    def _patterns(self) -> dict[str, list[tuple[re.Pattern[str], float]]]:
        made: dict[str, list[tuple[re.Pattern[str], float]]] = {}
        for field in ("rank_pattern", "alpha_pattern"):
            made[field] = []
            for pattern, value in (self.config.get(field) or {}).items():
                repeated = len(re.findall(r"[*+{]", pattern))
                if len(pattern) > LONGEST or repeated > REPEATS or re.search(r"\)[*+{]", pattern):
                    raise CheckpointError(
                        f"{self.path.with_name(ADAPTER_CONFIG)}: {field} {pattern[:60]!r} may take for ever to match; "
                        "write the layers' names out"
                    )
                try:
                    made[field].append((re.compile(rf"(.*\.)?({pattern})"), value))
                except re.error as error:
                    raise CheckpointError(
                        f"{self.path.with_name(ADAPTER_CONFIG)}: {field} {pattern!r} is no pattern ({error}); mend it"
                    ) from None
        return made


def _config(path: Path) -> dict[str, Any]:
    """An adapter's configuration, of a kind that is read."""
    if not path.is_file():
        raise CheckpointError(f"{path.parent} holds an adapter without its {ADAPTER_CONFIG}; download or copy both")
    rests_on(path)
    try:
        told = json.loads(plain_text(path))
    except (ValueError, OSError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); {AGAIN}") from None
    if not isinstance(told, dict) or "peft_type" not in told:
        raise CheckpointError(f"{path} does not say its peft_type; {AGAIN}")
    if told["peft_type"] != "LORA":
        raise CheckpointError(f"{path}: adapters of type {told['peft_type']!r} are not read; {merge_it('its base')}")
    used = next((field for field in OTHERWISE if told.get(field)), None)
    if used is not None:
        what = "use_dora (DoRA's magnitudes)" if used == "use_dora" else used
        raise CheckpointError(f"{path}: {what} makes more of it than a sum with B A; {merge_it('its base')}")
    start = told.get("init_lora_weights", True)
    if isinstance(start, str) and start.startswith(SHIFTED):
        raise CheckpointError(
            f"{path}: init_lora_weights {start!r} changes the base itself, which B A is then no difference from; "
            f"{merge_it('its base')}"
        )
    _check_numbers(told, path)
    return told


def _check_numbers(told: Mapping[str, Any], path: Path) -> None:
    """Refuses ranks and alphas that are none."""
    numbers: dict[str, Any] = {"r": told.get("r"), "lora_alpha": told.get("lora_alpha", 8)}
    for field in ("rank_pattern", "alpha_pattern"):
        pattern = told.get(field) or {}
        if not isinstance(pattern, dict):
            raise CheckpointError(f"{path}: {field} is no table of names and numbers; {AGAIN}")
        numbers |= {f"{field} {name!r}": value for name, value in pattern.items()}
    for what, value in numbers.items():
        rank = not what.startswith(("lora_alpha", "alpha_pattern"))
        fits = isinstance(value, int if rank else (int, float)) and not isinstance(value, bool)
        if not fits or not abs(value) < 1e9 or (rank and value < 1):
            raise CheckpointError(f"{path}: {what} is {value!r}, which is no {'rank' if rank else 'number'}; {AGAIN}")
