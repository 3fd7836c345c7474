"""What torch itself counts: floating-point operations, tensors saved for the backward pass, tensors alive at once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count


def flop_counter() -> FlopCounterMode:
    """Return torch's counter with the attention kernel of CPUs added, which it does not know."""
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return FlopCounterMode(
        display=False,
        custom_mapping={attention: lambda query, key, value, *_, **__: sdpa_flop_count(query, key, value)},
    )


def saved_bytes(run: Callable[[], Any], excluded: Iterable[Tensor]) -> int:
    """Return the bytes that autograd saves while ``run`` is called, shared storage counted once.

    Args:
        run: Function to call. Its result is held until the end.
        excluded: Tensors whose storage is not counted, such as the parameters.
    """
    known = {tensor.untyped_storage().data_ptr() for tensor in excluded}
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            storages[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = run()
    assert result is not None
    return sum(storage.nbytes() for storage in storages.values())


class Alive(TorchDispatchMode):
    """Counts the bytes of the tensors created while it is active; ``peak`` is the most alive at once.

    Args:
        excluded: Tensors that existed before and are not counted, such as the parameters.
    """

    def __init__(self, excluded: Iterable[Tensor]) -> None:
        super().__init__()
        self.seen = {tensor.untyped_storage()._cdata for tensor in excluded}
        self.now = self.peak = 0

    def free(self, key, size):
        self.now -= size
        self.seen.discard(key)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.seen:
                    self.seen.add(storage._cdata)
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self.free, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return result
