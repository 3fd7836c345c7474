"""Default recipe of an entry: one phase per level, from the inside out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from specs.expanded_yaml import json_text
from specs.graph import EntryGraph
from specs.load import load_entry
from specs.recipe import Recipe, recipe_of_tree
from specs.syntax.yaml_tree import Mapping, parse_text

__all__ = ["default_recipe", "default_recipe_and_graph"]

#: Default number of steps of a run.
STEPS = 3000
#: First width of the innermost level from which the paper's learning rate is used.
WIDE = 128


def default_recipe(
    entry: str,
    data: str,
    overrides: Sequence[str] = (),
    *,
    steps: int | None = None,
    search: Sequence[Path] | None = None,
) -> Recipe:
    """Return a progressive recipe for an entry, with overrides, checked.

    Half of the steps train the innermost level, half of the rest the next level, and so on. Batches have 32 rows; the
    outermost level of a later phase has 16. The learning rate is 1e-4 for networks as wide as the paper's, else 1e-3.

    Args:
        entry: Name of an entry, or path to one.
        data: Name of a dataset, or path to one.
        overrides: Changes such as ``phases.r16.batch=8``. Phases are named after the level that they train.
        steps: Steps of all phases together; default 3000.
        search: Folders in which the entry is looked up; default those of ``ZOO_PATH`` and the packaged one.

    Raises:
        UnknownName: No entry has this name.
        SpecError: The entry or an override has errors.
        ValueError: There are fewer steps than levels.
    """
    return default_recipe_and_graph(entry, data, overrides, steps=steps, search=search)[0]


def default_recipe_and_graph(
    entry: str,
    data: str,
    overrides: Sequence[str] = (),
    *,
    steps: int | None = None,
    search: Sequence[Path] | None = None,
) -> tuple[Recipe, EntryGraph]:
    """Return a default recipe with the graph of its entry; see :func:`default_recipe`."""
    graph = load_entry(entry, search=search).graph
    if steps is not None and steps < len(graph.labels):
        levels = len(graph.labels)
        raise ValueError(f"{graph.name} has {levels} levels, so it needs at least {levels} steps, not {steps}")
    facts = _facts(graph, entry, data, STEPS if steps is None else steps)
    tree = parse_text(json_text(facts, indent=1), "<default recipe>")
    assert isinstance(tree, Mapping)
    return recipe_of_tree(tree, overrides, search=search)


def _facts(graph: EntryGraph, entry: str, data: str, steps: int) -> dict[str, Any]:
    labels, left, phases = graph.labels[::-1], steps, {}
    for index, label in enumerate(labels):
        later = len(labels) - 1 - index
        share = min(max(1, left // 2), left - later) if later else left
        left -= share
        batch = {label: 16, labels[index - 1]: 32} if index else 32
        phases[label] = {"train": label, "steps": share, "batch": batch}
    return {
        "name": f"train-{graph.name}",
        "summary": f"Default recipe of {graph.name}, level by level.",
        "entry": entry,
        "data": data,
        "optimizer": {"learning_rate": 1e-4 if graph.levels[-1].stem_width >= WIDE else 1e-3},
        "schedule": {"warmup": min(100, steps // 20), "decay": "cosine"},
        "ema": 0.999 if steps < 100_000 else 0.9999,
        "loss": {"space": "eps" if graph.process.prediction == "eps" else "v"},
        "phases": phases,
    }
