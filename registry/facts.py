"""Facts about an entry that filters, tables and MLflow share."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry.costs.card import Card
    from specs.graph import EntryGraph


def kind_of(graph: EntryGraph) -> str:
    """Return the kind of output of an entry: ``image`` or ``video``."""
    return "video" if graph.is_video else "image"


def conditioning_of(graph: EntryGraph) -> str:
    """Return the conditioning of an entry: ``text``, ``classes``, both joined by ``+``, or ``none``."""
    return "+".join(graph.conditions) or "none"


def cost_metrics(card: Card) -> dict[str, float]:
    """Return the costs of one sample as MLflow metrics; one MAC is two FLOPs, memory is bytes in float32."""
    from registry.costs.card import STEPS  # listing names must not load the cost rules

    return {
        "params": card.parameters,
        "macs": card.macs,
        "flops": card.flops,
        "log10_params": math.log10(card.parameters),
        "log10_flops": math.log10(max(card.flops, 1)),
        "training_flops": card.training_flops,
        f"sampling_flops_{STEPS}": card.sampling_flops(STEPS),
        "activation_bytes_inference": card.memory.inference,
        "activation_bytes_training": card.memory.training,
        "activation_bytes_checkpointed": card.memory.checkpointed,
    }


def architecture_params(graph: EntryGraph) -> dict[str, str]:
    """Return the architecture choices of an entry, for tables and parallel coordinates."""
    blocks = Counter(node.block for level in graph.levels for node in level.nodes)
    widths = [node.width for level in graph.levels for node in level.nodes]
    params: dict[str, object] = {
        "resolution": graph.resolution,
        "levels": len(graph.levels),
        "level_labels": ", ".join(graph.labels),
        "innermost_resolution": graph.levels[-1].resolution,
        "conditioning": conditioning_of(graph),
        "time_width": graph.time_width,
        "narrowest_width": min(widths),
        "widest_width": max(widths),
        "resnet_blocks": blocks["resnet"],
        "attention_blocks": blocks["attention"],
        "blocks": sum(blocks.values()),
        "noise_schedule": graph.process.schedule,
        "noise_shift": f"{graph.process.shift:g}",
    }
    if graph.process.base:
        params["noise_base"] = graph.process.base
    if graph.process.noise != "independent":
        params["noise_levels"] = graph.process.noise
    if graph.process.offset:
        params["noise_offset"] = f"{graph.process.offset:g}"
    if graph.process.residual is not None:
        params["residual"] = graph.process.shown_residual
    if graph.is_video:
        from specs.blocks import BLOCKS  # listing names must not load the blocks

        temporal = [name for name in blocks if name in BLOCKS and BLOCKS[name].temporal]
        params |= {
            "frames": graph.frames,
            "innermost_frames": graph.levels[-1].frames,
            "temporal_blocks": sum(blocks[name] for name in temporal),
        }
    params |= {f"{level.label}.stem_width": level.stem_width for level in graph.levels}
    params |= {f"{level.label}.blocks": len(level.nodes) for level in graph.levels}
    return {name: str(value) for name, value in params.items()}


def label_order(label: str) -> tuple[int, int]:
    """Return a key that sorts labels of levels, the finest first: by side, then by frames; other names last."""
    found = re.fullmatch(r"r(\d+)(?:f(\d+))?", label)
    return (-int(found[1]), -int(found[2] or 1)) if found else (0, 0)


def family_of(name: str) -> str:
    """Return the family of an entry: the first word of its name."""
    return name.partition(".")[0].partition("-")[0]
