"""A training step of a network on the CPU: what autograd saves, and the FLOPs that torch counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from benchmarks.suite.measuring import saved_bytes
from builders.diffusion.losses import sample_losses, snr_weights, total_loss
from builders.diffusion.process import DiffusionProcess
from builders.networks.nested_unet import NestedUNet, build_model
from specs.graph import EntryGraph
from specs.schemas.recipe import LossSpec

__all__ = ["measured_flops", "measured_saved_bytes", "training_pass"]


def training_pass(
    graph: EntryGraph,
    rows: Mapping[str, int],
    *,
    frozen: tuple[str, ...] = (),
    checkpointed: tuple[str, ...] = (),
    without_loss: tuple[str, ...] = (),
    half: bool = False,
) -> tuple[NestedUNet, Callable[[], Tensor]]:
    """Return a network with random weights, and a function that computes the loss of a random batch."""
    torch.manual_seed(0)
    model = build_model(graph).train()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    for label in frozen:
        model.levels[label].requires_grad_(False)
    if graph.labels[-1] in frozen:
        model.inputs.requires_grad_(False)
    model.checkpoint(checkpointed)
    process = DiffusionProcess(graph, "cpu")
    images = [torch.randn(rows[level.label], level.channels, *level.size.shape) for level in graph.levels]
    eps = [torch.randn_like(x) for x in images]
    count = rows[graph.labels[-1]]
    t = torch.randint(0, graph.process.steps, (count,))
    given = {}
    if graph.text is not None:
        given["text"] = torch.randn(count, graph.text.tokens, graph.text.width)
        given["text_mask"] = torch.ones(count, graph.text.tokens)
    if graph.classes is not None:
        given["classes"] = torch.zeros(count, dtype=torch.long)
    loss = LossSpec(space="v", levels=dict.fromkeys(without_loss, 0))

    def forward() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            predictions = model(process.add_noise(images, eps, t), t, **given)
        each = sample_losses(predictions, images, eps, t, process, loss, snr_weights(process, "none"))
        return total_loss({label: value.mean() for label, value in each.items()}, loss)

    return model, forward


def measured_saved_bytes(graph: EntryGraph, rows: Mapping[str, int], **settings) -> int:
    """Return the bytes that autograd saves for the backward pass of a step, without the weights."""
    model, forward = training_pass(graph, rows, **settings)
    return saved_bytes(forward, model.parameters())


def measured_flops(graph: EntryGraph, rows: Mapping[str, int], **settings) -> int:
    """Return the FLOPs of a step as torch counts them. Attention counts as products, twice as many in its gradient."""
    _, forward = training_pass(graph, rows, **settings)
    aten = torch.ops.aten
    counter = FlopCounterMode(
        display=False,
        custom_mapping={
            aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v),
            aten._scaled_dot_product_flash_attention_for_cpu_backward: (
                lambda _, q, k, v, *__, **___: 2 * sdpa_flop_count(q, k, v)
            ),
        },
    )
    with counter:
        forward().backward()
    return counter.get_total_flops()
