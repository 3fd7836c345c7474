"""Facts of a training run for MLflow: tags, params, and costs per level."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry.environment import environment
from registry.facts import kind_of
from registry.tracking.valid_names import valid_key, valid_text
from specs.recipe_identity import public, unset

if TYPE_CHECKING:
    from builders.training.observers import RunInfo
    from registry.costs.card import Card, LevelRow
    from specs.graph import EntryGraph

__all__ = ["training_costs", "training_params", "training_tags"]


def training_tags(run: RunInfo) -> dict[str, str]:
    """Return entry and hashes, dataset and its licence, versions, commit and hardware."""
    tags = environment() | {
        "kind": "training",
        "entry": run.graph.name,
        "output": kind_of(run.graph),
        "hash": run.graph.hash,
        "graph_hash": run.graph.graph_hash,
        "device": run.device,
        "precision": run.precision,
        "data": str(run.data.get("name")),
        "data_licence": str(run.data.get("licence")),
    }
    if "images" in run.data:
        tags["images"] = str(run.data["images"])
    if run.device.startswith("cuda"):
        import torch

        tags["gpu"] = torch.cuda.get_device_name(run.device)
    return {key: valid_text(value) for key, value in tags.items()}


def training_params(run: RunInfo) -> dict[str, str]:
    """Return the recipe, one key per value, and the architecture choices."""
    excluded = {"summary": True} | unset(run.recipe)
    return _flat(public(run.recipe).model_dump(mode="json", exclude=excluded)) | {
        "levels": ", ".join(run.graph.labels),
        "time_width": str(run.graph.time_width),
        **({"frames": str(run.graph.frames)} if run.graph.is_video else {}),
        **{f"{level.label}.stem_width": str(level.stem_width) for level in run.graph.levels},
        **{f"{level.label}.blocks": str(len(level.nodes)) for level in run.graph.levels},
    }


def training_costs(graph: EntryGraph) -> dict[str, float]:
    """Return parameters, MACs and FLOPs (two per MAC) of one sample: of the network, and per level without inner ones.

    The names without ``per_level/`` are those of the entry's run, so that a chart has one bar per entry. MLflow's page
    sorts its sections of charts by name; ``per_level`` comes after the losses.
    """
    from registry.costs.card import make_card

    card = make_card(graph)
    costs: dict[str, float] = {}
    parts: dict[str, Card | LevelRow] = {"whole": card, **{level.label: level for level in card.levels}}
    for label, part in parts.items():
        costs[f"per_level/params.{label}"] = part.parameters
        costs[f"per_level/macs.{label}"] = part.macs
        costs[f"per_level/flops.{label}"] = part.flops
    return costs


def _flat(value: Any, path: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in _flat(item, f"{path}.{key}".strip(".")).items()}
    return {valid_key(path): valid_text(str(value))}
