"""What a training run in MLflow says of itself: tags, params, and the costs of what is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry.environment import hardware, source_commit

if TYPE_CHECKING:
    from builders.training.observers import RunFacts
    from specs.graph import EntryGraph

__all__ = ["training_costs", "training_params", "training_tags"]


def training_tags(run: RunFacts) -> dict[str, str]:
    """Entry and hashes, data and its licence, versions, commit and hardware."""
    from builders.checkpoints.weights import versions

    tags = {
        "kind": "training",
        "entry": run.graph.name,
        "hash": run.graph.hash,
        "graph_hash": run.graph.graph_hash,
        "device": run.device,
        "hardware": hardware(),
        "data": str(run.data.get("name")),
        "data_licence": str(run.data.get("licence")),
    }
    tags |= {f"version.{name}": value for name, value in versions().items()}
    commit, gpu = source_commit(), _gpu(run.device)
    return tags | ({"commit": commit} if commit else {}) | ({"gpu": gpu} if gpu else {})


def training_params(run: RunFacts) -> dict[str, str]:
    """The recipe, a key for each of its values, and the choices of the architecture."""
    params = _flat(run.recipe.model_dump(mode="json", exclude={"summary"}))
    params |= {
        "levels": ", ".join(run.graph.labels),
        "time_width": str(run.graph.time_width),
        **{f"{level.label}.stem_width": str(level.stem_width) for level in run.graph.levels},
        **{f"{level.label}.blocks": str(len(level.nodes)) for level in run.graph.levels},
    }
    return params


def training_costs(graph: EntryGraph) -> dict[str, float]:
    """Parameters, MACs and FLOPs (two a MAC) of one sample: of the whole, and of each level without those inside it.

    The plain names are those of the entry's own run, so that a chart has one bar an entry. The MLflow UI sorts the
    sections of its charts by name; ``per_level`` comes after the losses.
    """
    from registry.costs.card import make_card

    card = make_card(graph)
    costs: dict[str, float] = {
        "per_level/parameters.whole": card.parameters,
        "per_level/macs.whole": card.macs,
        "per_level/flops.whole": card.flops,
    }
    for level in card.levels:
        costs |= {
            f"per_level/parameters.{level.label}": level.parameters,
            f"per_level/macs.{level.label}": level.macs,
            f"per_level/flops.{level.label}": level.flops,
        }
    return costs


def _gpu(device: str) -> str | None:
    """The name of the GPU that is trained on."""
    if not device.startswith("cuda"):
        return None
    import torch

    return str(torch.cuda.get_device_name(device))


def _flat(value: Any, path: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in _flat(item, f"{path}.{key}".strip(".")).items()}
    return {path: str(value)[:500]}
