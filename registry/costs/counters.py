"""Counts of libraries on the built network, beside the blocks' own rules: fvcore's and torch's.

The network is built on the meta device, so that nothing is allocated and entries of any size can be counted. fvcore's
``FlopCountAnalysis`` traces a network, which meta tensors do not allow; its rules for single operators are applied to
the operators of one forward pass instead. It also counts norms, which the blocks' rules and torch do not; these are
left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.costs.totals import count

if TYPE_CHECKING:
    import torch

    from builders.networks.nested_unet import NestedUNet
    from specs.graph import EntryGraph

__all__ = ["Counts", "verify"]


@dataclass(frozen=True, slots=True)
class Counts:
    """One way to count an entry.

    Attributes:
        source: What counted: ``rules``, ``fvcore`` or ``torch``.
        parameters: Number of parameters.
        macs: Multiply-adds of one forward pass of one sample, the encoding of its prompt included.
    """

    source: str
    parameters: int
    macs: int


def verify(graph: EntryGraph) -> tuple[Counts, ...]:
    """Count an entry by the blocks' rules, by fvcore and by torch; the three are equal if the rules are right.

    Args:
        graph: Checked graph of the entry.
    """
    from torch.utils.flop_counter import FlopCounterMode

    from builders.networks.nested_unet import build_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # fvcore calls torch.jit.script when it is imported
        from fvcore.nn import parameter_count

    total = count(graph).total
    network = build_model(graph, device="meta", initialize=False).eval()
    with FlopCounterMode(display=False) as by_torch, _fvcore_counter() as by_fvcore:
        _run(network)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return (
        Counts("rules", total.parameters, total.total_macs),
        Counts("fvcore", int(parameter_count(network)[""]), by_fvcore.macs),
        Counts("torch", parameters, by_torch.get_total_flops() // 2),
    )


def _run(network: NestedUNet) -> None:
    """Run one forward pass of one sample with its prompt on the meta device."""
    import torch

    levels, text = network.graph.levels, network.graph.text
    z = [torch.empty(1, level.channels, *level.size.shape, device="meta") for level in levels]
    tokens = None if text is None else torch.empty(1, text.tokens, text.width, device="meta")
    with torch.no_grad():
        network(z, torch.zeros(1, device="meta"), text=tokens)


def _fvcore_counter() -> Any:
    """Return a context that sums up fvcore's counts of convolutions and matrix products as ``macs``.

    On the meta device, torch splits attention into batched matrix products, so that it needs no rule of its own.
    """
    from fvcore.nn.jit_handles import addmm_flop_jit, bmm_flop_jit, conv_flop_count, matmul_flop_jit
    from torch.utils._python_dispatch import TorchDispatchMode

    rules: dict[str, Callable[..., Any]] = {
        "aten::addmm": addmm_flop_jit,
        "aten::mm": matmul_flop_jit,
        "aten::bmm": bmm_flop_jit,
        "aten::convolution": lambda inputs, outputs: conv_flop_count(
            inputs[0].sizes(), inputs[1].sizes(), outputs[0].sizes()
        ),
    }

    class Counter(TorchDispatchMode):
        macs = 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            rule = rules.get(function.name().partition(".")[0])
            if rule is not None:
                self.macs += int(rule([_Value(arg) for arg in args], [_Value(result)]))
            return result

    return Counter()


class _Value:
    """A tensor in the form in which fvcore's rules read it, that of a value of a traced graph."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor

    def isCompleteTensor(self) -> bool:
        return True

    def type(self) -> _Value:
        return self

    def sizes(self) -> list[int]:
        return list(self._tensor.shape)
