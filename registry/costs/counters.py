"""What libraries count on a built network, beside the blocks' own rules: fvcore, and torch's FLOP counter.

fvcore counts one per multiply-add and knows no attention; it is given a handle for it. It also counts norms, which
torch's counter and the rules do not; those handles are taken away. fvcore traces, so it needs real tensors; torch's
counter runs on meta, where nothing is allocated.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from specs.graph import EntryGraph

__all__ = ["fvcore_macs", "torch_macs"]

#: What fvcore counts and the rules do not.
UNCOUNTED = (
    "aten::group_norm", "aten::layer_norm", "aten::upsample_nearest2d", "aten::adaptive_avg_pool2d", "aten::silu",
    "aten::gelu", "aten::add", "aten::mul", "aten::addcmul",
)  # fmt: skip


def fvcore_macs(graph: EntryGraph) -> int:
    """Multiply-adds of one forward pass of one sample with its prompt, as fvcore counts them on the CPU."""
    import logging

    import torch
    from fvcore.nn import FlopCountAnalysis

    network, inputs = _traceable(graph, "cpu")
    analysis = FlopCountAnalysis(network, inputs)
    analysis.set_op_handle("aten::scaled_dot_product_attention", _attention_macs)
    analysis.set_op_handle("aten::_scaled_dot_product_flash_attention_for_cpu", _attention_macs)
    for operator in UNCOUNTED:
        analysis.set_op_handle(operator, _nothing)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    with torch.no_grad():
        return int(analysis.total())


def torch_macs(graph: EntryGraph) -> int:
    """The same by torch's counter, on meta: half of its FLOPs."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    network, inputs = _traceable(graph, "meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*inputs)
    return int(counter.get_total_flops()) // 2


def _traceable(graph: EntryGraph, device: str) -> tuple[Any, tuple[Any, ...]]:
    """The network as a function of tensors alone, and inputs of one sample."""
    import torch
    from torch import Tensor, nn

    from builders.networks.nested_unet import build_model

    class Forward(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = build_model(graph, device=device)

        def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
            count = len(graph.levels)
            context = self.model.encode(text=tensors[count] if graph.text is not None else None)
            return tuple(self.model(list(tensors[:count]), torch.zeros(1, device=device), context))

    levels = graph.levels
    inputs = [torch.zeros(1, each.channels, each.resolution, each.resolution, device=device) for each in levels]
    if graph.text is not None:
        inputs.append(torch.zeros(1, graph.text.tokens, graph.text.width, device=device))
    return Forward().eval(), tuple(inputs)


def _attention_macs(inputs: list[Any], outputs: list[Any]) -> int:
    """Scores and weighted sums: (batch, heads, queries, width) times (batch, heads, keys, width), twice."""
    queries, keys = inputs[0].type().sizes(), inputs[1].type().sizes()
    return 2 * prod(queries) * keys[-2]


def _nothing(inputs: list[Any], outputs: list[Any]) -> int:
    return 0
