"""Recipes found, read over those that they extend, and checked against the entry they train."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from specs import library
from specs.errors import Position, Problems, UnknownName, closest, did_you_mean, fail, quote
from specs.graph import EntryGraph
from specs.load import load_entry
from specs.merge import drop, merge
from specs.overrides import apply_overrides
from specs.recipe_schema import LossSpec, PhaseSpec, Recipe, ScheduleSpec
from specs.source import Mapping, Scalar, Tree, locate, parse
from specs.validation import validate_into

__all__ = ["LossSpec", "PhaseSpec", "Recipe", "ScheduleSpec", "list_recipes", "load_recipe"]

_PACKAGED = Path(__file__).parent / "recipes"
#: Keys that a recipe does not take from the one it extends.
_OWN = ("name", "summary")


def list_recipes() -> tuple[str, ...]:
    """Names of all recipes in natural order: those in ``recipes/`` of each folder of ``ZOO_PATH``, and the packaged."""
    return tuple(sorted({path.stem for folder in _folders() for path in folder.glob("*.yaml")}, key=library.natural))


def load_recipe(
    name_or_path: str | Path, overrides: Sequence[str] = (), *, search: Sequence[Path] | None = None
) -> Recipe:
    """Load a recipe by name, or one in a file, and check it against the entry it trains.

    Paths of ``entry`` and ``data`` that a file holds are relative to it.

    Args:
        name_or_path: a name that :func:`list_recipes` gives, or a path (it has a slash or ends in .yaml).
        overrides: changes such as ``phases.p16.steps=100``.
        search: folders to look up the entry in; by default those of ``ZOO_PATH`` and the packaged one.

    Raises:
        UnknownName: no recipe has this name.
        SpecError: the recipe or its entry is wrong; the text is the whole report.
    """
    path = _find(name_or_path)
    tree = _read(path, ())
    _check_name(tree, None if _is_path(name_or_path) else path)
    problems = Problems()
    tree = apply_overrides(tree, overrides, problems)
    problems.raise_if_any()
    recipe = validate_into(Recipe, tree, problems, "a recipe")
    problems.raise_if_any()
    assert recipe is not None
    entry, data = locate(tree, "entry"), locate(tree, "data")
    places = {"entry": _placed(recipe.entry, entry.file), "data": _placed(recipe.data, data.file)}
    recipe = recipe.model_copy(update=places)
    try:
        graph = load_entry(recipe.entry, search=search).graph
    except UnknownName as error:
        raise fail("unknown-entry", str(error), entry) from None
    _check(recipe, graph, tree, problems)
    problems.raise_if_any()
    return recipe


def _is_path(name_or_path: str | Path) -> bool:
    return isinstance(name_or_path, Path) or library.is_path(name_or_path)


def _folders() -> tuple[Path, ...]:
    return (*(folder / "recipes" for folder in library.folders()), _PACKAGED)


def _find(name_or_path: str | Path, beside: Path = Path()) -> Path:
    """The file of a recipe; ``beside`` is the folder that paths are relative to."""
    if _is_path(name_or_path):
        return beside / Path(name_or_path).expanduser()
    for folder in _folders() if library.NAME.fullmatch(str(name_or_path)) else ():
        path = folder / f"{name_or_path}.yaml"
        if path.is_file():
            return path
    raise UnknownName(str(name_or_path), closest(str(name_or_path), list_recipes(), count=3), what="recipe")


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
        base = _find(extends.value, path.parent)
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


def _placed(text: str, file: str) -> str:
    """A path that a file holds, relative to that file; a name, or what an override gave, as it is."""
    if not library.is_path(text) or Path(text).is_absolute() or file.startswith("<"):
        return text
    return str(Path(file).parent / text)


def _check(recipe: Recipe, graph: EntryGraph, tree: Tree, problems: Problems) -> None:
    """What the keys' own rules do not say: that levels exist, are trained from the inside out, and have enough rows."""
    labels = graph.labels
    for label in recipe.loss.levels:
        _check_label(label, graph, locate(tree, "loss", "levels", label, key=True), problems)
    if recipe.drop.classes and "drop" in recipe.model_fields_set and graph.classes is None:
        problems.add("conflict", f"{graph.name} has no classes to drop", locate(tree, "drop", key=True))
    before: str | None = None
    for name, phase in recipe.phases.items():
        at = ("phases", name)
        for label in phase.loss.levels if phase.loss is not None else ():
            _check_label(label, graph, locate(tree, *at, "loss", "levels", label, key=True), problems)
        _check_weighting(recipe, phase, tree, at, problems)
        if not _check_label(phase.train, graph, locate(tree, *at, "train"), problems):
            continue
        if before is not None and labels.index(phase.train) > labels.index(before):
            message = f"phase {quote(name)} trains {phase.train}, which lies inside {before} of the phase before"
            problems.add("bad-value", message, locate(tree, *at, "train"))
        before = phase.train
        _check_rows(phase, labels[labels.index(phase.train) :], tree, at, problems)


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
