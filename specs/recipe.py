"""Recipes found, read over those that they extend, and checked against the entry they train."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from specs.errors import Position, Problems, UnknownName, did_you_mean, fail, quote
from specs.graph import EntryGraph
from specs.library import find_file, is_path, list_files
from specs.load import load_entry
from specs.public_names import offer
from specs.schemas.recipe import PhaseSpec, Recipe
from specs.syntax.merge import drop, merge
from specs.syntax.overrides import apply_overrides
from specs.syntax.validation import validate
from specs.syntax.yaml_tree import Mapping, Scalar, Tree, locate, parse

__all__ = ["Recipe", "list_recipes", "load_recipe", "load_recipe_and_graph", "recipe_of_tree"]

__getattr__ = offer(__name__)

#: Keys that a recipe does not inherit from the recipe it extends.
_OWN = ("name", "summary")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


def list_recipes() -> tuple[str, ...]:
    """Return the names of all recipes: those in ``recipes/`` of each folder of ``ZOO_PATH``, and the packaged ones."""
    return list_files("recipe")


def load_recipe(
    name_or_path: str | Path, overrides: Sequence[str] = (), *, search: Sequence[Path] | None = None
) -> Recipe:
    """Load a recipe by name or path, and check it against the entry it trains.

    Args:
        name_or_path: Name that :func:`list_recipes` returns, or path (it has a slash or ends in .yaml). Paths of
            ``entry`` and ``data`` in a file are relative to it.
        overrides: Changes such as ``phases.p16.steps=100``.
        search: Folders to look up the entry in. Default: those of ``ZOO_PATH`` and the packaged one.

    Raises:
        UnknownName: No recipe has this name.
        SpecError: The recipe or its entry is wrong. The text is the whole report.
    """
    return load_recipe_and_graph(name_or_path, overrides, search=search)[0]


def load_recipe_and_graph(
    name_or_path: str | Path, overrides: Sequence[str] = (), *, search: Sequence[Path] | None = None
) -> tuple[Recipe, EntryGraph]:
    """Load a recipe and the graph of the entry it trains; arguments as for :func:`load_recipe`."""
    path = find_file("recipe", name_or_path)
    tree = _read(path, ())
    _check_name(tree, None if is_path(name_or_path) else path)
    return recipe_of_tree(tree, overrides, search=search)


def recipe_of_tree(
    tree: Mapping, overrides: Sequence[str] = (), *, search: Sequence[Path] | None = None
) -> tuple[Recipe, EntryGraph]:
    """Check a recipe's tree with overrides, and return it with the graph of its entry; see :func:`load_recipe`."""
    tree = apply_overrides(tree, overrides)
    recipe = validate(Recipe, tree, "a recipe")
    recipe = recipe.map_paths(lambda text, keys: _placed(text, keys, locate(tree, *keys).file))
    try:
        graph = load_entry(recipe.entry, search=search).graph
    except UnknownName as error:
        raise fail("unknown-entry", str(error), locate(tree, "entry")) from None
    problems = Problems()
    _check(recipe, graph, tree, problems)
    problems.raise_if_any()
    return recipe, graph


def _read(path: Path, way: tuple[Path, ...]) -> Mapping:
    """The recipe's tree merged over the one that it extends; ``way`` holds the files that led to it."""
    tree = parse(path)
    if not isinstance(tree, Mapping):
        raise fail("wrong-type", "a recipe is a mapping of keys to values", tree.position)
    extends = tree.get("extends")
    if extends is None:
        return tree
    if not isinstance(extends, Scalar) or not isinstance(extends.value, str):
        raise fail("wrong-type", "'extends' is the name of a recipe or a path to one", extends.position)
    way = (*way, path.resolve())
    try:
        base = find_file("recipe", extends.value, path.parent)
    except UnknownName as error:
        raise fail("unknown-entry", str(error), extends.position) from None
    if base.resolve() in way:
        circle = " -> ".join(file.stem for file in (*way, base))
        raise fail("cyclic-reference", f"recipes extend each other in a circle: {circle}", extends.position)
    return merge(drop(_read(base, way), *_OWN), drop(tree, "extends"))


def _check_name(tree: Mapping, path: Path | None) -> None:
    name = tree.get("name")
    if path is not None and isinstance(name, Scalar) and isinstance(name.value, str) and name.value != path.stem:
        problem = f"this file is found as {quote(path.stem)} but says its name is {quote(name.value)}"
        raise fail("name-mismatch", problem, name.position)


def _placed(text: str, keys: tuple[str, ...], file: str) -> str:
    """Return a path in a file relative to the current folder; names, URLs and overrides are returned unchanged."""
    if text.startswith("~"):
        return str(Path(text).expanduser())
    if not is_path(text) or _URL.match(text) or Path(text).is_absolute() or file.startswith("<"):
        return text
    placed = str(Path(file).parent / text)
    if keys == ("text_encoder",) and not text.startswith(".") and not Path(placed).is_dir():
        return text  # a model of the Hugging Face Hub, whose name has a slash
    return placed if is_path(placed) else f"./{placed}"  # still a path, not a name


def _check(recipe: Recipe, graph: EntryGraph, tree: Tree, problems: Problems) -> None:
    """What the keys' own rules do not say: that levels exist, are trained from the inside out, and have enough rows."""
    labels = graph.labels
    for label in recipe.loss.levels:
        _check_label(label, graph, locate(tree, "loss", "levels", label, key=True), problems)
    for kind, there in (("classes", graph.classes), ("text", graph.text)):
        if there is None and kind in recipe.drop.model_fields_set and getattr(recipe.drop, kind):
            problems.add("conflict", f"{graph.name} has no {kind} to drop", locate(tree, "drop", kind, key=True))
    before: str | None = None
    for name, phase in recipe.phases.items():
        at = ("phases", name)
        weighted = phase.loss.levels if phase.loss is not None else {}
        places = {label: locate(tree, *at, "loss", "levels", label, key=True) for label in weighted}
        known = [label for label, place in places.items() if _check_label(label, graph, place, problems)]
        _check_weighting(recipe, phase, tree, at, problems)
        if not _check_label(phase.train, graph, locate(tree, *at, "train"), problems):
            continue
        for label in known:
            if labels.index(label) < labels.index(phase.train):
                message = f"phase {quote(name)} does not train {label}, which lies around {phase.train}"
                problems.add("bad-value", message, places[label])
        if before is not None and labels.index(phase.train) > labels.index(before):
            message = f"phase {quote(name)} trains {phase.train}, which lies inside {before} of the phase before"
            problems.add("bad-value", message, locate(tree, *at, "train"))
        if before is None and phase.initialise == "before":
            message = f"phase {quote(name)} is the first; there is none before it"
            problems.add("bad-value", message, locate(tree, *at, "initialise"))
        before = phase.train
        inside = labels[labels.index(phase.train) :]
        _check_rows(phase, inside, tree, at, problems)
        _check_trained(recipe, phase, inside, tree, at, problems)


def _check_label(label: str, graph: EntryGraph, position: Position, problems: Problems) -> bool:
    if label in graph.labels:
        return True
    hint = did_you_mean(label, graph.labels) or f"; its levels are {', '.join(graph.labels)}"
    problems.add("bad-value", f"{graph.name} has no level {quote(label)}{hint}", position)
    return False


def _check_weighting(recipe: Recipe, phase: PhaseSpec, tree: Tree, at: tuple[str, str], problems: Problems) -> None:
    loss = recipe.loss_of(phase)
    if loss.space == "v" and loss.weighting != "none":
        changed = phase.loss is not None and phase.loss.model_fields_set & {"space", "weighting"}
        where = locate(tree, *((*at, "loss") if changed else ("loss",)), "weighting")
        message = f"weighting {quote(loss.weighting)} is defined for the eps space; set 'space: eps'"
        problems.add("conflict", message, where)


def _check_trained(
    recipe: Recipe, phase: PhaseSpec, labels: Sequence[str], tree: Tree, at: tuple[str, str], problems: Problems
) -> None:
    """That something is learnt: a level with a loss, and one that is not frozen."""
    for index, label in enumerate(phase.freeze):
        if label not in labels:
            hint = did_you_mean(label, labels) or f"; it trains {', '.join(labels)}"
            message = f"phase {quote(at[1])} has no level {quote(label)} to freeze{hint}"
            problems.add("bad-value", message, locate(tree, *at, "freeze", index))
    if set(labels) <= set(phase.freeze):
        message = f"phase {quote(at[1])} freezes every level; none is left to train"
        problems.add("conflict", message, locate(tree, *at, "freeze", key=True))
    weighted = [label for label in labels if recipe.loss_of(phase).weight(label)]
    changed = phase.loss is not None and "levels" in phase.loss.model_fields_set
    where = locate(tree, *((*at, "loss") if changed else ("loss",)), "levels", key=True)
    if not weighted:
        problems.add("conflict", f"phase {quote(at[1])} has no level with a loss", where)


def _check_rows(phase: PhaseSpec, labels: Sequence[str], tree: Tree, at: tuple[str, str], problems: Problems) -> None:
    if isinstance(phase.batch, int):
        return
    for label in phase.batch:
        if label not in labels:
            hint = did_you_mean(label, labels) or f"; it trains {', '.join(labels)}"
            message = f"phase {quote(at[1])} does not train a level {quote(label)}{hint}"
            problems.add("bad-value", message, locate(tree, *at, "batch", label, key=True))
    if phase.train not in phase.batch:
        problems.add("missing-key", f"'batch' needs the rows of {phase.train}", locate(tree, *at, "batch", key=True))
        return
    rows = phase.rows(labels)
    for outer, inner in pairwise(labels):
        if rows[outer] > rows[inner]:
            message = f"level {outer} has {rows[outer]} rows, more than {inner} inside it ({rows[inner]})"
            problems.add("bad-value", message, locate(tree, *at, "batch", outer))
