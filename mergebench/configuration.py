"""Zoos, suites and studies: the fields of their YAML files, and what fits together."""

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from mergebench.errors import MergebenchError, is_unseen

REGIONS = ("early", "middle", "late")


LONGEST_NAME = 230  # bytes of a file's name, so that an ending, and a temporary file's letters, have room behind it


def option_value(value: Any) -> str:
    """A setting as `--set` reads it back: YAML on one line, in which 1e-05 stays a number."""
    # Numbers that were held to a range are of types of their own, which YAML does not know.
    plain = json.loads(json.dumps(value))
    text = yaml.safe_dump(plain, default_flow_style=True, width=math.inf, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def file_name(name: str) -> str:
    """What a file, or a folder, is called after a name that may stand in anybody's file: never a path, never hidden.

    Returns:
        The name itself wherever it can be one. Otherwise what of it can, with a hash, so that two names stay two files.
    """
    encoded = name.encode(errors="surrogatepass")
    letters = "".join("_" if c in "/\\" or is_unseen(c) else c for c in name)
    if letters == name and name.strip() and not name.startswith(".") and len(encoded) <= LONGEST_NAME:
        return name
    short = letters.strip(". ").encode()[: LONGEST_NAME // 2].decode(errors="ignore")
    return f"{short or '_'}-{hashlib.sha256(encoded).hexdigest()[:8]}"


def names_a_file(name: str) -> bool:
    """Whether a file, or a folder, can be called by a name wherever it lies."""
    return file_name(name) == name


class Strict(BaseModel):
    """A section of a YAML file; a field that does not exist is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TaskConfig(Strict):
    """A task whose images lie in files: on the hub, or on one's own disk.

    Args:
        title: for people; the task's name, if not given.
        data: where the images are: a folder with one folder per class (or with folders `train`, `test` of these), a
            `.csv` or `.tsv` file with columns for image and label (and perhaps one called `split`), a folder of parquet
            or arrow files, `owner/name[@revision]` on the Hugging Face hub, or `torchvision:Class`. Paths are relative
            to the YAML file.
        subset: the configuration of a hub data set that has several, or torchvision's split, partition or level of one.
        image, label: names of the columns.
        split: of the column that says the split, in a `.csv` file; empty: none does. Without it, one called `split`.
        splits: this project's split -> the source's name of it, where they differ ("test": "validation").
        counts: the source's split -> the number of images it must have. Where they name train, they name all splits
            that are used (of a source on disk, none of the usual ones may be left out), and the task's card can be told
            before anything is fetched.
        classes: class names for prompts, in the order of the label ids; the data's own, if not given.
        labels: how the data name these classes, where they name them otherwise: per class a name, or several.
        alpha: what is seen where an image is transparent: "white", "black", or "dropped" (its hidden colours).
        white: the value that is white in images of more than 8 bits a channel, 65535 where they have 16; 255: as PIL
            has it, all above is white.
        allow_duplicates: whether one and the same image may be in several splits, or under several labels.
        outside: whether a `.csv` file, or a table, may name images that do not lie in its folder.
        templates: prompt templates, each with one `{}` for the class name.
        head: a linear head's checkpoint, in place of one made from the prompts.
        source, licence: for the card.
    """

    title: str = ""
    data: Annotated[str, Field(min_length=1)]
    subset: str = ""
    image: str = "image"
    label: str = "label"
    split: str | None = None
    splits: dict[Literal["train", "validation", "test"], str] = {}
    counts: dict[str, Annotated[int, Field(ge=1)]] = {}
    classes: list[str] = []
    labels: list[str | list[str]] = []
    alpha: Literal["", "white", "black", "dropped"] = ""
    white: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    allow_duplicates: bool = False
    outside: bool = False
    templates: Annotated[list[str], Field(min_length=1)] = ["a photo of a {}."]
    head: str | None = None
    source: str = ""
    licence: str = ""

    @model_validator(mode="after")
    def _fits_together(self) -> "TaskConfig":
        twice = next((name for name in self.classes if self.classes.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"classes: two are named {twice!r}")
        if self.labels and len(self.labels) != len(self.classes):
            raise ValueError(f"labels: {len(self.labels)}, but {len(self.classes)} classes")
        odd = next((t for t in self.templates if t.count("{}") != 1 or set("{}") & set(t.replace("{}", ""))), None)
        if odd is not None:
            raise ValueError(f"templates: {odd!r} must hold {{}} once, for the class name, and no other braces")
        return self


class ZooConfig(Strict):
    """One backbone's base, experts and heads.

    Its weights are a folder (`weights`), or are named one by one (`base` and `experts`). Places are paths (relative to
    the YAML file), "package:path" inside a package, or `owner/name[/path/inside][@revision]` on the Hugging Face hub.

    Args:
        title: for people.
        backbone: what published tables call the model ("CLIP ViT-B/32").
        family: of its checkpoints, as `leaderboard/reported` calls it: published averages are shown beside measured
            ones where family, backbone and tasks are the same. Files that only resemble them are of no family.
        encoder: what makes the empty encoder of timm's: a name in timm, or "module:function". Without it, the
            base's own config.json, or the zoo that `base` names, says it.
        options: of an encoder named in timm, as `timm.create_model` takes them.
        projection: whose the projection of images is (CLIP's `visual.proj`): "base": of the heads, the base's for all;
            "merged": of the encoder, each expert having its own; `options: {projection: 512}` names its length where
            it is to be known before the base is there. Not given: as the zoo that `base` names has it, or "base".
        weights: folder of base.safetensors, experts/ and heads/: a path, or "package:folder" inside a package.
        base: the pre-trained checkpoint, or the name of a registered zoo whose base it is.
        experts: task -> checkpoint; or one place for all, with `{task}` in it; nothing before they are trained.
        revisions: task -> commit (or another revision) of the place on the hub where all experts' place leads to.
        image_size: in pixels, another size of images than the base's file is of: its position embeddings, and those of
            experts of that size, are interpolated.
        text: the CLIP checkpoint whose text tower makes the heads; the base's own, if not given.
        mean, std: per channel, how images in [0, 1] are normalised; the encoder's own, if not given.
        tasks: the tasks that have an expert, in the zoo's fixed order: names of registered ones, or name ->
            description (or nothing, for a registered one).
        described: those of them that are described, by name; not to be written.
        hyperparameters: method -> name -> value: this backbone's published settings, where they differ from the
            defaults.
    """

    title: str
    backbone: str = ""
    family: str = ""
    encoder: str | None = None
    options: dict[str, Any] = {}
    projection: Literal["base", "merged"] | None = None
    weights: str | None = None
    base: str | None = None
    experts: str | dict[str, str] = {}
    revisions: dict[str, str] = {}
    image_size: Annotated[int, Field(ge=1, strict=True)] | None = None
    text: str | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = None
    tasks: list[str] = Field(min_length=1)
    described: dict[str, TaskConfig] = {}
    hyperparameters: dict[str, dict[str, Any]] = {}

    @model_validator(mode="before")
    @classmethod
    def _tasks_by_name(cls, fields: Any) -> Any:
        """`tasks` as a mapping is a list of names, and the descriptions of some of them."""
        if isinstance(fields, dict) and isinstance(fields.get("tasks"), dict):
            described = {str(n): config for n, config in fields["tasks"].items() if config is not None}
            return {**fields, "tasks": [str(n) for n in fields["tasks"]], "described": described}
        return fields

    @model_validator(mode="after")
    def _tasks_may_name_files(self) -> "ZooConfig":
        odd = next((name for name in self.tasks if not names_a_file(name)), None)
        if odd is not None:
            raise ValueError(
                f"tasks: {odd!r} names files, so it must hold no slash and no . in front, and be printable"
            )
        return self

    @model_validator(mode="after")
    def _one_kind_of_weights(self) -> "ZooConfig":
        if bool(self.weights) == bool(self.base):
            raise ValueError("give either weights (a folder) or base and experts")
        if self.weights and self.encoder is None:
            raise ValueError("weights in a folder need encoder: what makes the empty model")
        passed_over = [name for name in ("experts", "text") if getattr(self, name)]
        passed_over += [f"tasks.{task}.head" for task, described in self.described.items() if described.head]
        if self.weights and passed_over:
            raise ValueError(f"{passed_over[0]}: the folder that weights names holds experts and heads; leave it out")
        if self.options and self.encoder is None:
            raise ValueError("options are of an encoder; name it: encoder")
        if self.weights and self.projection:
            raise ValueError("projection: only beside base and experts; of a folder of weights, its heads tell")
        if "projection" in self.options and self.base and self.projection != "merged":
            raise ValueError("options: projection is the length of one that is merged; say so: projection: merged")
        if isinstance(self.experts, str) and "{task}" not in self.experts:
            raise ValueError(f"experts: {self.experts!r} must hold {{task}}, or be a mapping task -> checkpoint")
        lacking = [t for t in self.tasks if t not in self.experts] if isinstance(self.experts, dict) else []
        if self.experts and lacking:  # a zoo that experts are yet to be trained for names none
            raise ValueError(f"experts: none for task {lacking[0]!r}")
        stranger = next((t for t in self.revisions if t not in self.tasks), None)
        if stranger is not None:
            raise ValueError(f"revisions: {stranger!r} is no task of this zoo")
        if self.revisions and not (isinstance(self.experts, str) and "@" not in self.experts):
            raise ValueError("revisions: only where experts: is one place for all; elsewhere write owner/name@revision")
        return self

    def expert_of(self, task: str) -> str:
        """Where a task's expert is, as the file says it.

        Raises:
            MergebenchError: it names none.
        """
        if isinstance(self.experts, dict):
            if task not in self.experts:
                raise MergebenchError(f"zoo {self.title!r} names no expert of task {task!r}: give experts:")
            return self.experts[task]
        revision = self.revisions.get(task)
        return self.experts.replace("{task}", task) + (f"@{revision}" if revision else "")


class CalibrationConfig(Strict):
    """Which images methods are given, where it is not simply each task's own.

    Args:
        source: "own"; "shuffled": the calibration images of all merged tasks, dealt out to them at random; or the name
            of a task whose images serve all.
        classes: only images of these class ids.
        corrupted: images (of the calibration and of the test split) under the same corruption as those evaluated.
    """

    source: str = "own"
    classes: list[int] | None = Field(default=None, min_length=1)
    corrupted: bool = False

    def givers(self, tasks: Sequence[str]) -> Sequence[str]:
        """The tasks whose images are given where the experts of `tasks` are merged."""
        return tasks if self.source in ("own", "shuffled") else (self.source,)


class RestrictConfig(Strict):
    """The part of the encoder that a method merges; everything outside it is the experts' average.

    Args:
        blocks: "all", thirds of the depth joined by "+" ("middle+late"), or numbers of blocks.
        component: "all", or one kind of sub-layer of the blocks.
    """

    blocks: str | Annotated[list[int], Field(min_length=1)] = "all"
    component: Literal["all", "attention", "mlp"] = "all"

    @model_validator(mode="after")
    def _known_blocks(self) -> "RestrictConfig":
        if isinstance(self.blocks, str) and self.blocks != "all" and not set(self.blocks.split("+")) <= set(REGIONS):
            regions = ", ".join(REGIONS)
            raise ValueError(f"blocks are 'all', numbers, or of {regions} joined by '+', not {self.blocks!r}")
        return self


class CorruptionsConfig(Strict):
    """Test images clean, and under each corruption at each severity (1 to 5)."""

    kinds: list[str] = Field(min_length=1)
    severities: list[Annotated[int, Field(ge=1, le=5)]] = Field(min_length=1)


class SuiteConfig(Strict):
    """Which experts are merged and what the merged model is evaluated on.

    Tasks are named as in the zoo, or by the CLIP task that they stand for, so that one suite serves every zoo. At most
    one of `prefixes`, `held_out`, `corruptions`, `orders` and `alone` makes several variants of a suite.

    Args:
        title: for people.
        version: of what is measured; another one where tasks, images, experts or what is merged become others
            (docs/rules.md).
        zoo: whose experts; `--zoo` replaces it.
        merge: tasks whose experts are merged; a number n stands for the zoo's first n.
        evaluate: tasks on whose test split the result is evaluated; those merged, if not given.
        hyperparameters: method -> name -> value: this suite's settings where they differ from the published ones; they
            hold for its own zoo.
        calibration: which images methods are given.
        restrict: the part of the encoder that methods merge.
        prefixes: merge and evaluate the first n of `merge`, for each n.
        held_out: merge all of `merge` but these, for each group, and evaluate on all.
        corruptions: evaluate under corruptions.
        orders: order -> groups of tasks that arrive one after the other; each starts from the base again.
        alone: merge each expert by itself, and evaluate it on all tasks: the experts x tasks matrix.
    """

    title: str
    version: Annotated[int, Field(ge=1, le=1000)] = 1
    zoo: str
    merge: list[str] | Annotated[int, Field(ge=1)]
    evaluate: list[str] = []
    hyperparameters: dict[str, dict[str, Any]] = {}
    calibration: CalibrationConfig = CalibrationConfig()
    restrict: RestrictConfig = RestrictConfig()
    prefixes: list[Annotated[int, Field(ge=1)]] = []
    held_out: list[Annotated[list[str], Field(min_length=1)]] = []
    corruptions: CorruptionsConfig | None = None
    orders: dict[str | int, list[list[str]]] = {}
    alone: bool = False

    def merged_of(self, tasks: Sequence[str], zoo: str) -> list[str]:
        """The tasks whose experts are merged, as the suite names them.

        Args:
            tasks: the zoo's, in its order.
            zoo: its name, for the message.

        Raises:
            MergebenchError: the zoo has fewer than the suite asks for.
        """
        if not isinstance(self.merge, int):
            return self.merge
        if self.merge > len(tasks):
            raise MergebenchError(f"merge: the first {self.merge} tasks, but zoo {zoo!r} has {len(tasks)}")
        return list(tasks[: self.merge])

    @model_validator(mode="after")
    def _one_kind_of_variants(self) -> "SuiteConfig":
        several = [n for n in ("prefixes", "held_out", "corruptions", "orders", "alone") if getattr(self, n)]
        if len(several) > 1:
            raise ValueError(f"{' and '.join(several)} cannot be in one suite; make a suite of each")
        if not self.merge:
            raise ValueError("merge names no task")
        if self.prefixes and self.evaluate:
            raise ValueError("prefixes are evaluated on what they merge; leave out evaluate")
        if any(not group for groups in self.orders.values() for group in (groups, *groups)):
            raise ValueError("orders: a step without tasks")
        return self


class PointConfig(Strict):
    """One arm of a study: what differs there from the suite.

    Args:
        methods: only these; all of the study's, if not given.
        hyperparameters: name -> value, for every method that has one of that name.
        calibration, restrict: the fields that differ from the suite's.
    """

    methods: list[str] = []
    hyperparameters: dict[str, Any] = {}
    calibration: CalibrationConfig | None = None
    restrict: RestrictConfig | None = None


class StudyConfig(Strict):
    """A suite under varied conditions.

    Args:
        title: for people.
        suite: the suite; `--suite` replaces it.
        methods: what is compared, as after `--methods`; that option replaces it.
        seeds: one cell for each; `--seeds` replaces them.
        hyperparameters: method -> name -> value, the same for all points.
        vary: axis -> values: a hyper-parameter's name (for every method that has it), `calibration.source`,
            `calibration.classes`, `calibration.corrupted`, `restrict.blocks` or `restrict.component`. Several axes:
            every combination. In place of values, `each` stands for every single block of the encoder.
        points: in place of `vary`: arms by name.
        choose_on_validation: evaluate on the validation split too, and choose each method's best point there.
    """

    title: str
    suite: str
    methods: list[str] = Field(min_length=1)
    seeds: list[Annotated[int, Field(ge=0)]] = Field(default=[0], min_length=1)
    hyperparameters: dict[str, dict[str, Any]] = {}
    vary: dict[str, Annotated[list[Any], Field(min_length=1)] | Literal["each"]] = {}
    points: dict[str, PointConfig] = {}
    choose_on_validation: bool = False

    @model_validator(mode="after")
    def _vary_or_points(self) -> "StudyConfig":
        if bool(self.vary) == bool(self.points):
            raise ValueError("give either vary (axes) or points (named arms)")
        odd = next((name for name in self.points if set(name) & set(",=")), None)
        if odd:
            raise ValueError(f"points: no comma or equals sign in a name, as in {odd!r}: --only could not choose it")
        return self


# Kind, as the registry calls it -> the fields of one file.
MODELS: dict[str, type[Strict]] = {"suites": SuiteConfig, "studies": StudyConfig, "zoos": ZooConfig}
