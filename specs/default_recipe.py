"""A recipe for an entry that has none: one phase a level, from the inside out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from specs.graph import EntryGraph
from specs.load import load_entry
from specs.recipe import Recipe, recipe_of_tree
from specs.syntax.yaml_tree import Mapping, parse_text

__all__ = ["default_recipe", "default_recipe_and_graph"]

#: Steps of a whole run, where none are given.
STEPS = 3000
#: Innermost first width from which on an entry is trained with the paper's learning rate.
WIDE = 128


def default_recipe(
    entry: str,
    data: str,
    overrides: Sequence[str] = (),
    *,
    steps: int | None = None,
    search: Sequence[Path] | None = None,
) -> Recipe:
    """A progressive recipe for an entry, with overrides, checked.

    Half of the steps train the innermost level, half of what is left the next, and so on. Batches have 32 rows, in
    which an outer level takes 16. Networks as wide as the paper's get its learning rate of 1e-4, small ones 1e-3.

    Args:
        entry: name of an entry, or path to one.
        data: name of a data set, or path to one.
        overrides: changes such as ``phases.r16.batch=8``; phases are called after the level that they train.
        steps: over all phases.
        search: folders to look up the entry in.

    Raises:
        UnknownName: there is no such entry.
        SpecError: the entry or an override is wrong.
        ValueError: there are fewer steps than levels.
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
    """Return a default recipe with the graph of its entry; arguments as :func:`default_recipe`."""
    graph = load_entry(entry, search=search).graph
    if steps is not None and steps < len(graph.labels):
        raise ValueError(
            f"{graph.name} has {len(graph.labels)} levels to train, one after another; not in {steps} steps"
        )
    tree = parse_text(_text(graph, entry, data, STEPS if steps is None else steps), "<default recipe>")
    assert isinstance(tree, Mapping)
    return recipe_of_tree(tree, overrides, search=search)


def _text(graph: EntryGraph, entry: str, data: str, steps: int) -> str:
    labels = graph.labels[::-1]
    rate = 1e-4 if graph.levels[-1].stem_width >= WIDE else 1e-3
    lines = [
        f"name: {_name(graph.name)}",
        f"summary: {graph.name} level by level, a recipe that was made for it.",
        f"entry: {_quoted(entry)}",
        f"data: {_quoted(data)}",
        f"optimizer: {{learning_rate: {rate}}}",
        f"schedule: {{warmup: {min(100, steps // 20)}, decay: cosine}}",
        f"ema: {0.999 if steps < 100_000 else 0.9999}",
        "loss: {space: v}",
        "phases:",
    ]
    left = steps
    for index, label in enumerate(labels):
        after = len(labels) - 1 - index
        share = left if after == 0 else min(max(1, left // 2), left - after)
        left -= share
        batch = "32" if index == 0 else f"{{{label}: 16, {labels[index - 1]}: 32}}"
        lines.append(f"  {label}: {{train: {label}, steps: {share}, batch: {batch}}}")
    return "\n".join(lines) + "\n"


def _name(name: str) -> str:
    return f"train-{name}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
