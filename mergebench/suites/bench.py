"""The bench: a suite with its zoo and images in place, shared by all cells of a run."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from mergebench.catalogue import registry
from mergebench.catalogue.trust import NAMING, method_files
from mergebench.catalogue.yaml_files import beside, read_study, read_suite, short_name
from mergebench.configuration import CalibrationConfig, SuiteConfig
from mergebench.data.content import Split
from mergebench.data.image_cache import corrupted_digest, corrupted_split, load_split
from mergebench.data.images import DrawnImages, ImageSource, JoinedImages, MixedImages, Rows
from mergebench.errors import MergebenchError, UnknownNameError
from mergebench.merging.budget import Budget, Sizes
from mergebench.merging.layout import Layout
from mergebench.merging.method import MethodCard, Needs
from mergebench.merging.pool import Earlier, ModelPool, Tell
from mergebench.merging.restriction import region
from mergebench.suites.variant import Variant, study_variants, suite_variants
from mergebench.weights import formats
from mergebench.weights.encoders import Encoder
from mergebench.weights.states import LazyState, StateDict, digest
from mergebench.zoo.expert_signs import odd_experts
from mergebench.zoo.heads import Head, check_own_head, joint_head
from mergebench.zoo.set_aside import check_set_aside, inherited, notes_set_aside
from mergebench.zoo.zoo import Zoo

# The candidate that stands for all tasks merged so far, when tasks arrive in sequence.
SO_FAR = "merged-so-far"


@dataclass(frozen=True)
class Carried:
    """What a sequence's next step takes over: the merged model so far, the tasks in it, and the method's report."""

    state: StateDict
    tasks: tuple[str, ...]
    report: Mapping[str, Any]


class Bench:
    """A suite with its zoo and data in place: what every cell of a run shares, each loaded once, when first used.

    Args:
        suite: a registered suite or a YAML file; a study's own, if not given.
        zoo, zoo_root: in place of the suite's zoo, and of that zoo's folder of weights.
        base: a checkpoint in place of the zoo's base.
        experts: name -> checkpoint, merged in place of the suite's experts. A name need be a task of the zoo only where
            a method asks for that task's images or head.
        study: a registered study or a YAML file: the suite's variants at each of its points.
        download: whether weights and images on the hub that are not here yet may be downloaded.
        allow_duplicates: whether one and the same image may be in several splits of a task.
        encoder: what makes the zoo's empty encoder, where the zoo does not name it.
        memory: bytes that merges are to stay within, the whole process counted; None for no limit.
        image_size: in pixels, that the zoo's base and experts are taken to, in place of what the zoo says of it.

    Raises:
        MergebenchError: an unknown suite, study, zoo, task or corruption, or values that do not fit.
    """

    def __init__(
        self,
        suite: str | None,
        zoo: str | None = None,
        zoo_root: str | None = None,
        base: str | None = None,
        experts: Mapping[str, str] | None = None,
        study: str | None = None,
        download: bool = True,
        allow_duplicates: bool = False,
        encoder: Encoder | None = None,
        memory: int | None = None,
        image_size: int | None = None,
    ) -> None:
        self._budget = Budget(memory) if memory else None
        self.study = read_study(study) if study else None
        self.study_name = short_name(study) if study else ""
        if study and self.study:
            suite = suite or beside(self.study.suite, study)
        assert suite  # one of the two is given
        self.suite: SuiteConfig = read_suite(suite)
        self.name = short_name(suite)
        self.zoo = Zoo(
            zoo or beside(self.suite.zoo, suite),
            zoo_root,
            base,
            download,
            allow_duplicates=allow_duplicates,
            encoder=encoder,
            image_size=image_size,
        )
        self._files = experts
        self._experts: dict[str, Mapping[str, Tensor]] = {}
        self._heads: dict[str, Head] = {}
        self._joint: dict[tuple[str, ...], Mapping[str, Tensor] | None] = {}
        self._digests: dict[str, str] = {}
        self._splits: dict[tuple[str, str, tuple[str, int] | None], Split] = {}
        self._held: set[tuple[str, ...]] = set()  # whose weights were held to what was set aside, on which tasks
        self.variants = self._variants()

    def _variants(self) -> list[Variant]:
        suite = self.suite
        variants = suite_variants(suite, suite.merged_of(self.zoo.config.tasks, self.zoo.name), self.zoo.find)
        if self._files is not None:
            own = Variant(tuple(self._files), variants[0].evaluate)
            variants = [replace(own, calibration=suite.calibration, restrict=suite.restrict)]
        if self.study:
            variants = study_variants(self.study, variants, len(self.layout.blocks))
        for source in {v.calibration.source for v in variants} - {"own", "shuffled"}:
            if source not in registry.tasks():
                raise UnknownNameError("calibration source", source, ["own", "shuffled", *registry.tasks()])
        for variant in variants:
            region(variant.restrict, self.layout)  # a block that is not there is refused now
        names = [v.name for v in variants]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise MergebenchError(f"two variants are the same: {twice}")
        if any(v.calibration.corrupted for v in variants) and not any(v.corruption for v in variants):
            raise MergebenchError(f"calibration.corrupted: suite {self.name!r} has no corruptions")
        return variants

    @cached_property
    def layout(self) -> Layout:
        """The structure of the zoo's encoder."""
        return Layout(self.zoo.make_empty_encoder())

    @cached_property
    def _sizes(self) -> Sizes:
        return Sizes.of(self.layout, self.zoo.base)

    def method_files(self, passed_over: Collection[str] = ()) -> dict[str, list[str]]:
        """The methods' files that the YAML of its suite, study and zoo name, by who does.

        Args:
            passed_over: fields of the study that are replaced.
        """
        named = {f"zoo {self.zoo.name!r}": method_files(self.zoo.config)}
        named[f"suite {self.name!r}"] = method_files(self.suite)
        if self.study:
            naming = [name for name in NAMING if name not in passed_over]
            named[f"study {self.study_name!r}"] = method_files(self.study, naming)
        return {who: files for who, files in named.items() if files}

    def expert(self, task: str) -> Mapping[str, Tensor]:
        """A task's expert weights, checked against the base."""
        if self._files is None or task not in self._files:
            return self.zoo.expert(task)
        if task not in self._experts:
            opened = formats.open_weights(Path(self._files[task]))
            state = formats.as_expert(opened, f"expert {task!r} ({self._files[task]})", self.zoo.base)
            self._experts[task] = self.zoo.check_expert(task, state)
        return self._experts[task]

    def joint(self, variant: Variant) -> Mapping[str, Tensor] | None:
        """The model trained on all of a variant's tasks together, if the zoo has one.

        Raises:
            MergebenchError: other images were set aside for its test.
        """
        if variant.merged not in self._joint:
            self._joint[variant.merged] = self.zoo.joint(variant.merged)
        found = self._joint[variant.merged]
        if found is not None:
            path = found.path if isinstance(found, LazyState) else None
            self._hold(f"the joint model ({path})", found, variant)
        return found

    def lacks(self, card: MethodCard, variant: Variant, settings: Mapping[str, Any]) -> str:
        """Why a method cannot be run on a variant with these hyper-parameters; empty if it can."""
        if card.needs.joint and self.joint(variant) is None:
            return f"zoo {self.zoo.name!r} has no model trained on these {len(variant.merged)} tasks together"
        if card.role == "ceiling":
            return ""
        start = registry.start_of(card, settings)
        number = len(variant.merge) + bool(variant.previous)
        reasons = [card.lacks(number, self.layout.in_sequence)]
        reasons += [self._budget.lack([card], number, self._sizes)] if self._budget else []
        reasons += [self.lacks(start, variant, settings.get(f"{card.starts}_settings") or {})] if start else []
        if variant.previous and card.role == "method":  # which continues that one's result
            reasons.append(self.lacks(card, variant.previous, settings))
        return next(filter(None, reasons), "")

    def head(self, task: str) -> Head:
        """A task's classifier."""
        if task not in self._heads:
            self._heads[task] = self.zoo.head(task)
        return self._heads[task]

    def split(self, task: str, name: str, corruption: tuple[str, int] | None = None) -> Split:
        """One split of a task's images, decoded once; under a corruption, if one is given."""
        key = (task, name, corruption)
        if key not in self._splits:
            # Every split is an open file: those under earlier corruptions must not pile up.
            self._splits = {k: s for k, s in self._splits.items() if k[2] in (None, corruption)}
            card = self.zoo.task(task)
            if corruption is None:
                self._splits[key] = load_split(card, name)
            else:
                kind, severity = corruption
                clean = self.split(task, name)
                self._splits[key] = corrupted_split(card, name, clean, registry.corruptions()[kind], severity)
        return self._splits[key]

    def weights(self, variant: Variant, needs: Needs = Needs()) -> dict[str, str]:  # noqa: B008 (frozen)
        """Hashes of all weights that enter a variant's cells, the experts' own references included."""
        tasks = dict.fromkeys((*variant.merged, *variant.evaluate))
        parts = {"base": self.zoo.base} | {f"experts/{t}": self.expert(t) for t in tasks}
        parts |= {f"heads/{t}": self.head(t).state_dict() for t in tasks}
        if needs.joint:
            joint = self.joint(variant)
            assert joint is not None  # else the method is left out
            parts[f"joint/{'+'.join(sorted(variant.merged))}"] = joint
        for name, state in parts.items():
            if name not in self._digests:
                self._digests[name] = digest(state)
        return {name: self._digests[name] for name in parts}

    def data(self, variant: Variant) -> dict[str, str]:
        """Hashes of all images that enter: test of what is evaluated (or adapted on), calibration of what is merged.

        Raises:
            MergebenchError: an expert, a head, or a base, for whose test other images were set aside.
        """
        self._hold_all(variant, (*variant.merged, *variant.evaluate))
        self.check_heads(variant)
        found = self.given(variant, "test")
        found |= {f"{t}/test": self._digest(t, "test", variant.corruption) for t in variant.evaluate}
        if self.study and self.study.choose_on_validation:
            found |= {f"{t}/validation": self._digest(t, "validation", None) for t in variant.evaluate}
        return found | self.given(variant, "calibration")

    def given(self, variant: Variant, split: str) -> dict[str, str]:
        """Hashes of all images of "calibration" or "test" of which a variant's merge may be given some."""
        adapted = variant.corruption if variant.calibration.corrupted else None
        givers = variant.merged if split == "test" else variant.calibration.givers(variant.merged)
        return {f"{t}/{split}": self._digest(t, split, adapted) for t in givers}

    def check_heads(self, variant: Variant) -> None:
        """Refuses, by a MergebenchError, a head that learnt what it is to be evaluated on, or is of another expert."""
        for task in variant.evaluate:
            who = f"the head of task {task!r}"
            self._hold(who, self.head(task), variant, own=task)
            if task in variant.merged:
                check_own_head(self.head(task), self.expert(task), who, f"expert {task!r}")

    def odd_experts(self, variants: Iterable[Variant]) -> Iterator[str]:
        """A sentence for every sign that an expert of these variants is not what it seems to be."""
        tasks = sorted({task for variant in variants for task in variant.merged})
        return odd_experts(self.zoo.base, {task: self.expert(task) for task in tasks})

    def noted(self, variant: Variant, needs: Needs) -> dict[str, Any]:
        """What the header of a variant's merge notes of what was set aside, under this zoo's names of the tasks too.

        Raises:
            MergebenchError: weights that enter, and for whose test other images were set aside.
        """
        self._hold_all(variant, variant.merged)
        experts = {t: self.expert(t) for t in variant.merged}
        joint = self.joint(variant) if needs.joint else None
        entering = {t for t, state in experts.items() if t in self.zoo.config.tasks and notes_set_aside(state)}
        if needs.calibration or needs.test_inputs:
            entering |= set(variant.calibration.givers(variant.merged))
        parts = [self.zoo.base, *experts.values(), *([joint] if joint is not None else [])]
        return inherited(parts, map(self.zoo.task, sorted(entering)))

    def _hold_all(self, variant: Variant, tasks: Sequence[str]) -> None:
        """Hold base and experts to what was set aside for the test of a variant's tasks."""
        self._hold("the base", self.zoo.base, variant)
        for task in dict.fromkeys(tasks):
            self._hold(f"expert {task!r}", self.expert(task), variant, own=task)

    def _hold(self, who: str, part: Mapping[str, Tensor] | nn.Module, variant: Variant, own: str = "") -> None:
        tasks = tuple(dict.fromkeys((*variant.merged, *variant.evaluate)))
        if (who, *tasks) not in self._held:
            known = [t for t in tasks if t in self.zoo.config.tasks]  # files may be merged under any name
            check_set_aside(who, part, known, self.zoo.task, own)
            self._held.add((who, *tasks))

    def check_classes(self, variant: Variant) -> None:
        """Refuses, by a MergebenchError, a variant whose calibration classes some task has no image of."""
        if variant.calibration.classes is not None:
            for task in variant.calibration.givers(variant.merged):
                _of_classes(self.split(task, "calibration").labels, variant.calibration, task)

    def fewest_calibration(self, variant: Variant) -> tuple[str, int]:
        """The task of a variant's merge that is given the fewest calibration images to draw from, and how many."""
        config = variant.calibration
        there = {
            giver: len(_of_classes(self.split(giver, "calibration").labels, config, giver))
            for giver in config.givers(variant.merged)
        }
        if config.source == "shuffled":
            return min(variant.merge), sum(there.values()) // len(variant.merged)
        if config.source != "own":
            return config.source, there[config.source]
        return min(((task, there[task]) for task in variant.merge), key=lambda pair: pair[1])

    def _digest(self, task: str, name: str, corruption: tuple[str, int] | None) -> str:
        clean = self.split(task, name)
        if corruption is None:
            return clean.digest
        return corrupted_digest(clean, registry.corruptions()[corruption[0]], corruption[1])

    def pool(
        self,
        card: MethodCard,
        needs: Needs,
        seed: int,
        device: str,
        variant: Variant,
        carried: Carried | None = None,
        tell: Tell | None = None,
    ) -> tuple[ModelPool, dict[str, DrawnImages]]:
        """A fresh pool for one merge, and its image sources keyed "task/split" (they know what was drawn).

        Args:
            card: the method; a `ceiling` gets the expert of every task that is evaluated.
            needs: under the hyper-parameters at hand.
            seed: of everything random.
            device: where to compute.
            variant: what is merged, from which images.
            carried: the candidate from the sequence's previous step.
            tell: told how far the merge is.
        """
        ceiling = card.role == "ceiling"
        tasks = list(variant.evaluate if ceiling else variant.merge)
        experts: dict[str, Mapping[str, Tensor]] = {t: self.expert(t) for t in tasks}
        # By name, as the pool orders experts: the order in which tasks arrive within a step must not matter.
        earlier = sorted(carried.tasks) if carried and not ceiling else []
        drawn: dict[str, DrawnImages] = {}
        given: dict[str, dict[str, ImageSource]] = {"calibration": {}, "test": {}}
        for split, wanted in (("calibration", needs.calibration), ("test", needs.test_inputs)):
            if wanted:
                sources = self._sources(split, sorted((*earlier, *tasks)), seed, variant)
                drawn |= {f"{t}/{split}": s for t, s in sources.items()}
                given[split] = {t: sources[t] for t in tasks}
                if earlier:
                    given[split][SO_FAR] = MixedImages([sources[t] for t in earlier])
        heads: dict[str, nn.Module] = {t: self.head(t) for t in tasks} if needs.heads else {}
        if carried and earlier:
            experts[SO_FAR] = carried.state
            if needs.heads:
                heads[SO_FAR] = joint_head([self.head(t) for t in earlier])
        pool = ModelPool(
            card.name,
            needs,
            self.zoo.make_empty_encoder(),
            self.zoo.base,
            experts,
            calibration=given["calibration"],
            test_inputs=given["test"],
            heads=heads,
            joint=self.joint(variant) if needs.joint else None,
            region=region(variant.restrict, self.layout),
            earlier=Earlier(SO_FAR, len(earlier), carried.report) if carried and earlier else None,
            seed=seed,
            device=device,
            tell=tell,
            memory=self._budget.left([card], len(experts), self._sizes) if self._budget else None,
        )
        return pool, drawn

    def _sources(self, split: str, tasks: Sequence[str], seed: int, variant: Variant) -> dict[str, DrawnImages]:
        """task -> the images of one split that it is given."""
        config = variant.calibration
        corruption = variant.corruption if config.corrupted else None
        mean, std = self.zoo.mean, self.zoo.std
        if split == "test":  # the test split is never anything but itself
            config = CalibrationConfig()
        arrays = {t: self.split(t, split, corruption) for t in config.givers(tasks)}
        chosen = {t: _of_classes(s.labels, config, t) for t, s in arrays.items()}
        images: dict[str, tuple[Rows, np.ndarray | None, np.ndarray]]
        if config.source == "own":
            images = {t: (s.images, s.labels, chosen[t]) for t, s in arrays.items()}
        elif config.source == "shuffled":
            everything = JoinedImages([s.images for s in arrays.values()])
            starts = np.cumsum([0, *(len(s.images) for s in arrays.values())])[:-1]
            heap = np.concatenate([start + chosen[t] for t, start in zip(tasks, starts, strict=True)])
            dealt = np.array_split(np.random.default_rng([seed, len(tasks)]).permutation(heap), len(tasks))
            images = {t: (everything, None, part) for t, part in zip(tasks, dealt, strict=True)}
        else:
            images = {t: (arrays[config.source].images, None, chosen[config.source]) for t in tasks}
        return {t: DrawnImages(i, labels, mean, std, t, seed, part) for t, (i, labels, part) in images.items()}


def _of_classes(labels: np.ndarray, config: CalibrationConfig, task: str) -> np.ndarray:
    """Indices of the images of the classes asked for, or of all."""
    if config.classes is None:
        return np.arange(len(labels))
    absent = np.setdiff1d(config.classes, labels)
    if len(absent):
        raise MergebenchError(f"calibration.classes: task {task!r} has no image of class {absent[0]}")
    return np.flatnonzero(np.isin(labels, config.classes))
