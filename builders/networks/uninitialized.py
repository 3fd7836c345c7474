"""Building modules without drawing their weights: on the meta device, or if the weights are loaded next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["uninitialized"]

#: Methods that draw numbers in place. On the meta device they change nothing, but import torch's compiler (1.3 CPU s).
_RANDOM = frozenset(
    {Tensor.normal_, Tensor.uniform_, Tensor.bernoulli_, Tensor.exponential_, Tensor.log_normal_, Tensor.random_}
)


class _WithoutInitializers(TorchFunctionMode):
    """Returns tensors as they are from methods that draw numbers in place and from functions of ``torch.nn.init``."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if function in _RANDOM or getattr(function, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


@contextmanager
def uninitialized(device: torch.device | str) -> Iterator[None]:
    """Create tensors on a device, and modules with weights that are not drawn.

    Buffers are computed as usual. Building on the meta device and moving with ``to_empty`` would leave them undefined,
    and import sympy.

    Args:
        device: Device of tensors for which none is named; "meta" allocates nothing.
    """
    with torch.device(device), _WithoutInitializers():
        yield
