"""Number of samples that are denoised at once: as many as fit into the memory of the device, up to a limit."""

from __future__ import annotations

import torch

from specs.blocks import BLOCKS
from specs.graph import EntryGraph, LevelGraph, input_channels, shapes

__all__ = ["MOST_ROWS", "free_memory", "rows_at_once", "sample_bytes"]

#: Largest number of samples that are denoised at once. More are not faster, and an interruption loses a batch.
MOST_ROWS = 256
#: Share of the free memory that is used; the rest is left to libraries and other programs.
SHARE = 0.5
#: Images of each level that a sampler has in float32: noisy and clean ones, predictions, and those of the step before.
_IMAGES = 8


def sample_bytes(graph: EntryGraph, *, guided: bool = False) -> int:
    """Return an upper bound of the bytes of one sample in a step of a sampler, in float32, from the blocks' rules.

    Every feature map counts as alive until the end, which is up to three times the peak of a network of one level.

    Args:
        graph: Graph of the entry.
        guided: Whether both the guided and the unguided prediction are computed at once.
    """
    passes = 2 if guided else 1
    images = sum(level.channels * level.size.positions for level in graph.levels)
    return 4 * (passes * sum(_level_elements(graph, level) for level in graph.levels) + _IMAGES * images)


def _level_elements(graph: EntryGraph, level: LevelGraph) -> int:
    """Return the elements of all feature maps of a level, and the most that a block of it has beside them."""
    found = shapes(level)
    widths = {name: width for name, (width, _) in found.items()}
    elements = {name: width * size.positions for name, (width, size) in found.items()}
    beside = 2 * elements[level.head]  # the head's normalized input, and the SiLU of it
    for node in level.nodes:
        channels, size = input_channels(node, widths), found[node.inputs[0]][1]
        merged = channels * size.positions
        if node.block == "nest":
            beside = max(beside, 2 * merged)
            continue
        block = BLOCKS[node.block]
        rule = block.activations(block.arguments(node.args), channels, node.width, size, graph.scene)
        beside = max(beside, merged * (len(node.inputs) > 1) + rule.workspace)
    return sum(elements.values()) + beside


def free_memory(device: torch.device) -> int:
    """Return the bytes of memory of a device that are free, those that torch holds in reserve included."""
    if device.type == "cuda":
        reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + reserve
    import psutil

    return psutil.virtual_memory().available


def rows_at_once(graph: EntryGraph, device: torch.device, *, guided: bool = False, pixels: int) -> int:
    """Return the number of samples to denoise at once, at least 1: as many as half of the free memory holds.

    Args:
        graph: Graph of the entry.
        device: Device of the network.
        guided: Whether both the guided and the unguided prediction are computed at once.
        pixels: Most pixels of the outermost level, of all frames, on a CPU.
    """
    rows = min(MOST_ROWS, int(SHARE * free_memory(device)) // sample_bytes(graph, guided=guided))
    if device.type == "cpu":
        rows = min(rows, pixels // graph.levels[0].size.positions)
    return max(1, rows)
