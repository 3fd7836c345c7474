"""Activation checkpointing of blocks: their activations are computed again in the backward pass, and not saved."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import fx, nn
from torch.utils.checkpoint import checkpoint

from specs.graph import LevelGraph

__all__ = ["CheckpointedBlock", "checkpoint_blocks"]


class CheckpointedBlock(nn.Module):
    """A block that saves only its inputs for the backward pass, which runs it once more.

    The random states of the first run are restored for the second, so that dropout drops the same values. Without
    gradients it is the block itself.

    Args:
        block: Block that is run.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, *inputs: Any) -> Any:
        """Run the block."""
        if not torch.is_grad_enabled():
            return self.block(*inputs)
        return checkpoint(self.block, *inputs, use_reentrant=False, preserve_rng_state=True)


def checkpoint_blocks(denoiser: fx.GraphModule, level: LevelGraph) -> None:
    """Checkpoint the blocks and the head of a level.

    Args:
        denoiser: Part of the level that runs at every step, see :func:`builders.networks.level.split_level`. It calls
            the same blocks by the same code; the level itself is not changed.
        level: Graph of the level.
    """
    for name in _names(level):
        setattr(denoiser, name, CheckpointedBlock(denoiser.get_submodule(name)))


def _names(level: LevelGraph) -> Iterable[str]:
    """Return the names of the modules; the inner level, which a nest calls, has its own."""
    return (*(node.name for node in level.nodes if node.block != "nest"), "head")
