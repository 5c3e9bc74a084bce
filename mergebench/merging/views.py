"""Views of weights: as methods read them, and as results hold them."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor


class ReadOnlyState(Mapping[str, Tensor]):
    """A view of weights that hands out copies in computing precision, so that no method can change its inputs."""

    def __init__(self, state: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> None:
        self._state, self._device, self._dtype = state, device, dtype

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._state[name].detach()
        return tensor.to(self._device, self._dtype if tensor.is_floating_point() else tensor.dtype, copy=True)

    def read_into(self, name: str, tensor: Tensor) -> None:
        """Copy a tensor into one of the reader's own, in one go."""
        tensor.copy_(self._state[name].detach())

    def low_rank(self, name: str) -> tuple[Tensor, Tensor] | None:
        """Copies of the factors that a state has of one parameter's difference from the base; None without any."""
        told = getattr(self._state, "low_rank", None)
        factors = told(name) if told else None
        return factors and tuple(factor.to(self._device, self._dtype, copy=True) for factor in factors)

    def __iter__(self) -> Iterator[str]:
        return iter(self._state)

    def __len__(self) -> int:
        return len(self._state)


class FinishedState(Mapping[str, Tensor]):
    """A view of weights as a result has them: in the base's dtypes, on the CPU, a copy of each when it is asked for."""

    def __init__(self, state: Mapping[str, Tensor], dtypes: Mapping[str, torch.dtype]) -> None:
        self._state, self._dtypes = state, dtypes

    def __getitem__(self, name: str) -> Tensor:
        return self._state[name].detach().to("cpu", self._dtypes[name], copy=True)

    def __iter__(self) -> Iterator[str]:
        return iter(self._dtypes)

    def __len__(self) -> int:
        return len(self._dtypes)
