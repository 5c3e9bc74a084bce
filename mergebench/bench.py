"""The bench: a suite with its zoo and images in place, shared by all cells of a run."""

from collections.abc import Mapping
from functools import cached_property

from torch import nn

from mergebench.configuration import SuiteConfig, read_suite, short_name
from mergebench.image_cache import Split, load_split
from mergebench.images import DrawnImages
from mergebench.method import Needs
from mergebench.pool import ModelPool
from mergebench.states import SafetensorsState
from mergebench.zoo import Zoo


class Bench:
    """A suite with its zoo and data in place: what every cell of a run shares, each loaded once, when first used.

    Args:
        suite: a registered suite or a YAML file.
        zoo, zoo_root: in place of the suite's zoo, and of that zoo's folder of weights.
        base: a checkpoint in place of the zoo's base.
        experts: name -> checkpoint, merged in place of the suite's experts. A name need be a task of the zoo only where
            a method asks for that task's images or head.

    Raises:
        MergebenchError: an unknown suite, zoo or task.
    """

    def __init__(
        self,
        suite: str,
        zoo: str | None = None,
        zoo_root: str | None = None,
        base: str | None = None,
        experts: Mapping[str, str] | None = None,
    ) -> None:
        self.suite: SuiteConfig = read_suite(suite)
        self.name = short_name(suite)
        self.zoo = Zoo(zoo or self.suite.zoo, zoo_root, base)
        for task in (*self.suite.merge, *self.suite.evaluated):
            self.zoo.task(task)
        self._files = experts
        self._splits: dict[tuple[str, str], Split] = {}
        if experts is not None:
            self.suite = self.suite.model_copy(update={"merge": list(experts), "evaluate": self.suite.evaluated})

    @cached_property
    def experts(self) -> dict[str, Mapping]:
        """task -> expert weights, checked against the base."""
        if self._files is not None:
            return {t: self.zoo.check_expert(t, SafetensorsState(f)) for t, f in self._files.items()}
        return {t: self.zoo.expert(t) for t in self.suite.merge}

    @cached_property
    def heads(self) -> dict[str, nn.Module]:
        """task -> classifier, of all tasks merged or evaluated."""
        return {t: self.zoo.head(t) for t in dict.fromkeys((*self.suite.merge, *self.suite.evaluated))}

    @cached_property
    def weights(self) -> dict[str, str]:
        """Hashes of all weights that enter."""
        return self.zoo.digests(self.suite.merge, self.heads)

    def split(self, task: str, name: str) -> Split:
        """One split of a task's images, decoded once."""
        if (task, name) not in self._splits:
            self._splits[task, name] = load_split(self.zoo.task(task), name)
        return self._splits[task, name]

    @cached_property
    def data(self) -> dict[str, str]:
        """Hashes of all images that enter: test of what is evaluated, calibration and test of what is merged."""
        wanted = [(t, "test") for t in self.heads] + [(t, "calibration") for t in self.suite.merge]
        return {f"{t}/{n}": self.split(t, n).digest for t, n in wanted}

    def _sources(self, split: str, seed: int) -> dict[str, DrawnImages]:
        mean, std = self.zoo.config.mean, self.zoo.config.std
        drawn = {t: self.split(t, split) for t in self.suite.merge}
        return {t: DrawnImages(s.images, s.labels, mean, std, t, seed) for t, s in drawn.items()}

    def pool(self, name: str, needs: Needs, seed: int, device: str) -> tuple[ModelPool, dict[str, DrawnImages]]:
        """A fresh pool for one merge, and its image sources keyed "task/split" (they know what was drawn)."""
        calibration = self._sources("calibration", seed) if needs.calibration else {}
        test = self._sources("test", seed) if needs.test_inputs else {}
        pool = ModelPool(
            name,
            needs,
            self.zoo.make_empty_encoder(),
            self.zoo.base,
            self.experts,
            calibration=calibration,
            test_inputs=test,
            heads=self.heads if needs.heads else {},
            seed=seed,
            device=device,
        )
        named = {f"{t}/calibration": s for t, s in calibration.items()} | {f"{t}/test": s for t, s in test.items()}
        return pool, named
