"""A model's forward pass in steps, whose linear layers give away what their gradients follow from."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from mergebench import StateDict
from mergebench.merging.layout import input_rows, is_linear

# Gradients by what a step gives -> those by its taps' outputs, by its other parameters, and perhaps by its values.
Pull: TypeAlias = Callable[[Tensor], tuple[StateDict, StateDict, *tuple[Tensor, ...]]]


class Tap(NamedTuple):
    """What a pass of one image shows of a layer that is called once.

    Args:
        layer: a linear layer, or a convolution that is one on patches.
        output: shape of what it gives.
    """

    layer: nn.Linear | nn.Conv2d
    output: torch.Size

    def rows(self, inputs: Tensor) -> Tensor:
        """Inputs [B, ...] as the rows [B, N, in] that the weight multiplies."""
        if isinstance(self.layer, nn.Linear):
            return input_rows(self.layer, inputs)
        return input_rows(self.layer, inputs.flatten(0, -4))

    def slopes(self, gradient: Tensor) -> Tensor:
        """Gradients by the output [B, ...] as [B, N, out], one for each of the rows."""
        if isinstance(self.layer, nn.Linear):
            return gradient.reshape(len(gradient), -1, gradient.shape[-1])
        return gradient.flatten(-2).flatten(0, -3).transpose(1, 2)


class Step(NamedTuple):
    """A part of a model, and what of it is differentiated by.

    Args:
        run: values [B, ...] -> values [B, ...].
        taps: by name, layers whose gradients follow from their inputs and outputs.
        others: names of the other parameters.
        inside, gives: how many numbers come out of the taps, and out of the step, of one image.
    """

    run: Callable[[Tensor], Tensor]
    taps: dict[str, Tap]
    others: tuple[str, ...]
    inside: int
    gives: int


class Chain(nn.Module):
    """A model whose forward pass is done in steps, with parameters of the caller's."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear) or is_linear(m)}
        self._layers: dict[str, nn.Linear | nn.Conv2d] = layers

    def forward(self, run: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
        """One step; see `Step.run`."""
        return run(values)

    def at(self, run: Callable[[Tensor], Tensor], values: Tensor, parameters: StateDict) -> Tensor:
        """A step of the model that has these parameters in place of its own."""
        given: Tensor = functional_call(self, {f"model.{n}": p for n, p in parameters.items()}, (run, values))
        return given

    @contextmanager
    def tapped(self, see: Callable[[str, Tensor, Tensor], Tensor]) -> Iterator[None]:
        """While it lasts, layers give what `see` makes of their name, inputs and outputs."""
        hooks = [
            layer.register_forward_hook(lambda _, inputs, output, name=name: see(name, inputs[0], output))
            for name, layer in self._layers.items()
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def step(self, run: Callable[[Tensor], Tensor], values: Tensor) -> tuple[Step, Tensor]:
        """A step as values [1, ...] show it, and what it makes of them."""
        seen: dict[str, list[Tensor]] = {}

        def see(name: str, inputs: Tensor, output: Tensor) -> Tensor:
            seen.setdefault(name, []).append(output)
            return output

        own = {n: p.detach().requires_grad_() for n, p in self.model.named_parameters()}
        with self.tapped(see), torch.enable_grad():
            output = self.at(run, values, own)
            given: Sequence[Tensor | None] = [None] * len(own)
            if output.requires_grad:
                given = torch.autograd.grad(output.sum(), [*own.values()], allow_unused=True)
        taps = {n: Tap(self._layers[n], found[0].shape) for n, found in seen.items() if len(found) == 1}
        taken = {f"{n}.{kind}" for n in taps for kind in ("weight", "bias")}
        others = tuple(n for n, g in zip(own, given, strict=True) if g is not None and n not in taken)
        inside = sum(tap.output.numel() for tap in taps.values())
        return Step(run, taps, others, inside, output.numel()), output.detach()

    def pull_back(self, step: Step, values: Tensor, first: bool) -> tuple[Pull, StateDict]:
        """A step's derivatives at values [B, ...], and its taps' inputs.

        Returns:
            gradients by what the step gives [B, ...] -> gradients by the taps' outputs, by the other parameters, image
            by image, and, if it is not the first step, by the values.
        """

        def of_image(taps: StateDict, others: StateDict, image: Tensor) -> tuple[Tensor, StateDict]:
            inputs: StateDict = {}

            def see(name: str, given: Tensor, output: Tensor) -> Tensor:
                if name not in taps:
                    return output
                inputs[name] = given
                return output + taps[name]

            with self.tapped(see):
                return self.at(step.run, image[None], others)[0], inputs

        size = len(values)
        zeros = {n: values.new_zeros(()).expand(size, *tap.output) for n, tap in step.taps.items()}
        parameters = dict(self.model.named_parameters())
        others = {n: parameters[n].detach().expand(size, *parameters[n].shape) for n in step.others}
        of_batch = vmap(of_image)
        if first:
            found = vjp(lambda taps, own: of_batch(taps, own, values), zeros, others, has_aux=True)
        else:
            found = vjp(of_batch, zeros, others, values, has_aux=True)
        _, pull, inputs = cast(tuple[Tensor, Pull, StateDict], found)  # three, as inputs are had beside
        return pull, inputs
