"""The model pool: all that a merge method may see of its inputs, and nothing that it did not declare."""

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict

import torch
from torch import Tensor, nn

from mergebench import seeds
from mergebench.data.images import Batch, ImageSource
from mergebench.errors import MergebenchError, MethodError, NeedsError
from mergebench.merging.activations import largest_activation
from mergebench.merging.layout import Layout
from mergebench.merging.method import MergeMethod, Needs
from mergebench.merging.reports import log_step, plain
from mergebench.merging.views import FinishedState, ReadOnlyState
from mergebench.weights.states import StateDict

# Gradients and activations of one batch must fit beside the models.
PASS_SIZE = 64

# What is counted ("tensors", "steps" ...), how many are done, how many there are -> somebody is told of it.
Tell = Callable[[str, int, int], None]

# (a method's name, what is set of it) -> its function, all its hyper-parameters, its needs under them.
Find = Callable[[str, Mapping[str, Any]], tuple[MergeMethod, dict[str, Any], Needs]]


@dataclass(frozen=True)
class Earlier:
    """What a step of a sequence knows of the steps before it.

    Args:
        name: the expert that stands for all that was merged so far.
        tasks: how many tasks that is.
        report: what the method reported at the step before.
    """

    name: str
    tasks: int
    report: Mapping[str, Any]


class Given(TypedDict):
    """What a pool was handed in beside weights, by task."""

    calibration: Mapping[str, ImageSource]
    test_inputs: Mapping[str, ImageSource]
    heads: Mapping[str, nn.Module]


class ModelPool:
    """The experts, and whatever else the method's `Needs` declare.

    Experts are ordered by task name, whatever order they were handed in, so that a result cannot depend on it.

    Args:
        method: the method's name, for messages.
        needs: what it declared; all else is refused.
        architecture: an encoder whose structure the weights have; its values are used only as `base`.
        base: the pre-trained weights.
        experts: task -> weights (a `SafetensorsState` is read lazily).
        calibration: task -> images of the calibration split.
        test_inputs: task -> unlabelled images of the test split.
        heads: task -> classifier.
        joint: the weights of one model trained on all tasks.
        region: names of the parameters that are merged; the others become the experts' average. All, if None.
        earlier: in a sequence, what is known of the steps before.
        seed: of everything random.
        device: where tensors are handed out.
        tell: told how far the merge is.
        memory: bytes that images, tokens and activations may take together, as far as a method can choose; None for as
            many as are quickest.

    Raises:
        NeedsError: something declared was not given.
    """

    def __init__(
        self,
        method: str,
        needs: Needs,
        architecture: nn.Module,
        base: Mapping[str, Tensor],
        experts: Mapping[str, Mapping[str, Tensor]],
        *,
        calibration: Mapping[str, ImageSource] | None = None,
        test_inputs: Mapping[str, ImageSource] | None = None,
        heads: Mapping[str, nn.Module] | None = None,
        joint: Mapping[str, Tensor] | None = None,
        region: Collection[str] | None = None,
        earlier: Earlier | None = None,
        seed: int = 0,
        device: str | torch.device = "cpu",
        tell: Tell | None = None,
        memory: int | None = None,
    ) -> None:
        if not experts:
            raise MergebenchError("there are no experts to merge")
        self.tasks = tuple(sorted(experts))
        self.layout = Layout(architecture)
        self.seed = seed
        self.device = torch.device(device)
        # What is computed in: the finest precision of base and experts, but no less than float32, for sums over experts
        # in half precision would lose what the experts differ in.
        self.dtype = torch.promote_types(self.layout.precision, torch.float32)
        for expert in experts.values():
            self.dtype = torch.promote_types(self.dtype, expert[self.layout.floating[0]].dtype)
        self.diagnostics: dict[str, Any] = {}
        self.earlier = earlier
        self._memory = memory
        # How another method is found, for one whose card says that it starts from another; whoever runs it knows.
        self.find: Find | None = None
        self.start: tuple[str, Mapping[str, Any]] | None = None  # that method, and what is set of it
        # Of a loop that nothing else counts a method may tell itself how far it is: `pool.tell("steps", done, steps)`.
        self.tell: Tell = tell or (lambda what, done, total: None)
        self._region = region
        self._method, self._needs, self._architecture = method, needs, architecture
        self._base = ReadOnlyState(base, self.device, self.dtype)
        self._experts = {t: ReadOnlyState(experts[t], self.device, self.dtype) for t in self.tasks}
        self._given: Given = {
            "calibration": calibration or {}, "test_inputs": test_inputs or {}, "heads": heads or {},
        }  # fmt: skip
        for need, given in (("calibration", calibration), ("test_inputs", test_inputs), ("heads", heads)):
            lacking = [t for t in self.tasks if t not in (given or {})]
            if getattr(needs, need) and lacking:
                raise NeedsError(f"method {method!r} needs {need}: give {need}= for task {', '.join(lacking)}")
        if needs.joint and joint is None:
            raise NeedsError(f"method {method!r} needs a model trained on {', '.join(self.tasks)} together")
        self._joint = joint or {}

    def inside(self, name: str) -> bool:
        """Whether a parameter is to be merged; those outside the region will be the average, whatever a method says.

        So will a batch norm's statistics, which are measured and not trained: a sum of their task vectors would be a
        variance below zero before long. Methods need not ask. One that feeds on its own result, layer by layer, should.
        """
        return (self._region is None or name in self._region) and name not in self.layout.statistics

    def lent_to(self, method: str, needs: Needs) -> "ModelPool":
        """The same inputs for another method, from whose result this one starts; its report is its own.

        Raises:
            NeedsError: it needs what this method did not declare.
        """
        for need in needs.names():
            self._require(need)
        lent = copy.copy(self)
        lent._method, lent._needs, lent.diagnostics = method, needs, {}
        if self.earlier is not None:  # what it reported itself then stands where its reports are put
            lent.earlier = replace(self.earlier, report=self.earlier.report.get("start", {}))
        return lent

    def _require(self, need: str) -> None:
        if not getattr(self._needs, need):
            raise NeedsError(
                f"method {self._method!r} reads {need}, which it did not declare: "
                f"add needs=Needs({need}=True) to its @merge_method"
            )

    @property
    def base(self) -> Mapping[str, Tensor]:
        """The pre-trained weights (copies, at least float32); needs `base`."""
        self._require("base")
        return self._base

    @property
    def experts(self) -> Mapping[str, Mapping[str, Tensor]]:
        """task -> fine-tuned weights (copies, at least float32), ordered by task name."""
        return self._experts

    @property
    def joint(self) -> Mapping[str, Tensor]:
        """The weights of one model trained on all tasks (copies, at least float32); needs `joint`."""
        self._require("joint")
        return ReadOnlyState(self._joint, self.device, self.dtype)

    @property
    def heads(self) -> dict[str, nn.Module]:
        """task -> frozen classifier (a copy) on the pool's device; needs `heads`."""
        self._require("heads")
        heads = {t: copy.deepcopy(self._given["heads"][t]).to(self.device, self.dtype) for t in self.tasks}
        for head in heads.values():
            head.eval().requires_grad_(False)
        return heads

    def calibration(
        self, task: str, samples: int, batch_size: int | None = None, pieces: int | None = None
    ) -> Iterator[Tensor]:
        """Normalised calibration images [B, 3, H, W] of a task, `samples` in all; needs `calibration`.

        Batches that a caller handed in explicitly are all used, in the order given, whatever `samples` says.

        Args:
            task: whose images.
            samples: how many.
            batch_size: images a batch, where the caller handed in none; as many as there is memory for, if None.
            pieces: every batch comes in pieces of no more images than this.
        """
        self._require("calibration")
        for images, _ in self._counted(task, samples, batch_size):
            for piece in images.chunk(-(-len(images) // pieces) if pieces else 1):
                yield piece.to(self.device, self.dtype, copy=True)

    def labelled_calibration(
        self, task: str, samples: int, batch_size: int | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As `calibration`, with labels [B]; needs `calibration` and `labels`.

        Raises:
            NeedsError: the batches handed in carry no labels.
        """
        self._require("calibration")
        self._require("labels")
        for images, labels in self._counted(task, samples, batch_size):
            if labels is None:
                raise NeedsError(f"method {self._method!r} needs labels: give task {task!r} (images, labels) pairs")
            yield images.to(self.device, self.dtype, copy=True), labels.to(self.device, copy=True)

    def room(self, wanted: int) -> int:
        """Bytes that something may take that is quickest with so many: fewer, where the budget leaves fewer."""
        # What goes through the encoder, and what waits for it, are held at once: half for each.
        return wanted if self._memory is None else min(wanted, self._memory // 2)

    def _pass_size(self) -> int:
        """Images that go through the encoder together."""
        one = largest_activation(self._architecture) * self.dtype.itemsize
        return max(1, self.room(PASS_SIZE * one) // one)

    def _counted(self, task: str, samples: int, batch_size: int | None) -> Iterator[Batch]:
        """A task's calibration images once, while somebody is told how many of all tasks' are done."""
        done, tasks = self.tasks.index(task) * samples, len(self.tasks)
        for batch in self._given["calibration"][task].once(samples, batch_size or self._pass_size()):
            yield batch
            done += len(batch[0])  # batches handed in explicitly may be more or fewer
            self.tell("images", done, max(done, tasks * samples))

    def stream(self, need: Literal["calibration", "test_inputs"], task: str, batch_size: int) -> Iterator[Tensor]:
        """Unlabelled images of a task without end, reshuffled on every pass.

        Args:
            need: `calibration` or `test_inputs`; it must be declared.
            task: whose images.
            batch_size: images a batch.
        """
        self._require(need)
        for images, _ in self._given[need][task].forever(batch_size):
            yield images.to(self.device, self.dtype, copy=True)

    def encoder(self, state: Mapping[str, Tensor] | None = None) -> nn.Module:
        """A new encoder in eval mode, without gradients, that holds `state`.

        Args:
            state: all its weights; without it every floating-point value is NaN, so that what was never loaded shows.
        """
        encoder = copy.deepcopy(self._architecture).to(self.device, self.dtype).eval().requires_grad_(False)
        if state is None:
            for tensor in encoder.state_dict().values():
                if tensor.is_floating_point():
                    tensor.fill_(float("nan"))
        else:
            encoder.load_state_dict({n: state[n] for n in self.layout.shapes})
        return encoder

    def with_statistics(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """A state with the statistics of its batch norms that the result will have: the experts' average."""
        measured = [n for n in self.layout.statistics if self.layout.dtypes[n].is_floating_point]
        return {**state, **{n: self.mean(n) for n in measured}} if measured else state

    def finish(self, state: Mapping[str, Tensor]) -> StateDict:
        """The state in the base's order and dtypes, on the CPU, sharing no memory with anything.

        Raises:
            MethodError: a tensor is missing.
        """
        lacking = next((n for n in self.layout.dtypes if n not in state), None)
        if lacking is not None:
            raise MethodError(f"method {self._method!r}: its result lacks {lacking!r}")
        return dict(FinishedState(state, self.layout.dtypes))

    def finished_experts(self) -> dict[str, Mapping[str, Tensor]]:
        """task -> the expert as a result, read tensor by tensor: all of them need not fit into memory."""
        return {task: FinishedState(expert, self.layout.dtypes) for task, expert in self._experts.items()}

    def vector(self, task: str, name: str) -> Tensor:
        """One parameter of one task vector [*shape], theta_t - theta_0; needs `base`."""
        return self.experts[task][name] - self.base[name]

    def vectors(self, name: str) -> Tensor:
        """One parameter's task vectors [T, *shape], theta_t - theta_0, in the order of `tasks`; needs `base`."""
        base = self.base[name]
        return self._stacked(name).sub_(base)

    def low_rank(self, task: str, name: str) -> tuple[Tensor, Tensor] | None:
        """The factors B [m, r] and A [r, n] of which one parameter of a task vector is the product; needs `base`.

        Their scale is in B; m rows, and n of all that is behind them. Of a fused qkv B is block by block where query,
        key and value were adapted apart.

        Returns:
            None where the expert is no adapter, or has no factors of this parameter: see `vector`.
        """
        self._require("base")
        return self._experts[task].low_rank(name)

    def map_names(self, merge: Callable[[str], Tensor]) -> StateDict:
        """Merge parameter by parameter; what `merge` reads of the others is its own affair.

        Args:
            merge: a parameter's name -> merged [*shape]. Integer buffers are taken from one expert, unasked, and of
                statistics the mean.
        """
        merged: StateDict = {}
        for number, (name, dtype) in enumerate(self.layout.dtypes.items()):
            self.tell("tensors", number, len(self.layout.dtypes))
            if dtype.is_floating_point and name not in self.layout.statistics:
                merged[name] = merge(name).detach().to("cpu", dtype, copy=True)
            else:
                merged[name] = self.unmerged(name)
        return merged

    def unmerged(self, name: str) -> Tensor:
        """What a tensor is that no method has a say in: the experts' mean, or, of integers, one expert's."""
        dtype = self.layout.dtypes[name]
        if dtype.is_floating_point:
            return self.mean(name).detach().to("cpu", dtype, copy=True)
        return next(iter(self._experts.values()))[name].cpu()

    def map_experts(self, merge: Callable[[Tensor], Tensor]) -> StateDict:
        """Merge tensor by tensor; only one tensor of each expert is held at a time.

        Args:
            merge: experts' tensors stacked [T, *shape] -> merged [*shape]. Integer buffers are taken from one expert.
        """
        return self.map_names(lambda name: merge(self._stacked(name)))

    def mean(self, name: str) -> Tensor:
        """One parameter's mean over the experts [*shape]; two tensors are held at a time."""
        first, *rest = self._experts.values()
        total = first[name]
        for expert in rest:
            total += expert[name]
        return total / len(self._experts)

    def average(self) -> StateDict:
        """The mean of the experts, tensor by tensor."""
        return self.map_names(self.mean)

    def map_tensors(self, merge: Callable[[Tensor, Tensor], Tensor]) -> StateDict:
        """As `map_experts`, with the base's tensor: merge(base [*shape], experts [T, *shape]); needs `base`."""
        base = self.base
        return self.map_names(lambda name: merge(base[name], self._stacked(name)))

    def _stacked(self, name: str) -> Tensor:
        """The experts' tensors in one [T, *shape], one by one: as a list beside it they would be held twice."""
        first, *rest = self._experts.values()
        value = first[name]
        stack = value.new_empty(len(self._experts), *value.shape)
        stack[0] = value
        for row, expert in zip(stack[1:], rest, strict=True):
            expert.read_into(name, row)
        return stack

    def generator(self, *key: object) -> torch.Generator:
        """A CPU random generator of its own for every key, decided by the pool's seed."""
        return seeds.generator(seeds.derived(self.seed, self._method, *key))

    def report(self, **facts: Any) -> None:
        """Keep facts about the merge (condition numbers, learnt coefficients ...) for the result.

        Args:
            facts: numbers, texts, tensors, arrays, and lists and dicts of these.

        Raises:
            MethodError: anything else, which a result could not hold.
        """
        self.diagnostics.update({name: plain(name, fact) for name, fact in facts.items()})

    def log(self, step: int, **values: Tensor | float) -> None:
        """Numbers of a step, such as its loss, for a curve (`mergebench merge --logger`); elsewhere nothing is read.

        Args:
            step: counted from 0.
            values: numbers, or tensors of one.
        """
        log_step(step, values)
