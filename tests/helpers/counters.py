"""What torch itself counts: floating-point operations, and tensors alive at once."""

from __future__ import annotations

import weakref
from collections.abc import Iterable

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
