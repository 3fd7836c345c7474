"""Load recipes: find them, merge them over those that they extend, and check them against their entry."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from specs.errors import Problems, SpecError, UnknownName, did_you_mean, fail, quote
from specs.graph import EntryGraph
from specs.library import find_file, is_path, list_files, own_folders, placed_beside
from specs.load import load_entry
from specs.public_names import offer
from specs.schemas.memory import MemorySpec
from specs.schemas.recipe import PhaseSpec, Recipe
from specs.syntax.mending import validate_mended
from specs.syntax.merge import drop, merge
from specs.syntax.other_kind import refuse_other_kind
from specs.syntax.overrides import apply_overrides
from specs.syntax.references import MAX_CHAIN, check_reference
from specs.syntax.validation import check_name
from specs.syntax.yaml_tree import Mapping, Scalar, Tree, locate, parse, value_at

__all__ = [
    "NoClasses",
    "Recipe",
    "entry_overrides",
    "extended_tree",
    "list_recipes",
    "load_recipe",
    "load_recipe_and_graph",
    "recipe_graph",
    "recipe_of_tree",
]

__getattr__ = offer(__name__)

#: Keys whose values are not checked against the entry.
HARMLESS = frozenset(Recipe.model_fields) - {
    "entry",
    "entry_overrides",
    "learning_rates",
    "loss",
    "drop",
    "phases",
    "initialise",
    "classes",
}
#: Keys that a recipe does not inherit from the recipe it extends.
_OWN = ("name", "summary")


def list_recipes() -> tuple[str, ...]:
    """Return the names of all recipes: those in ``recipes/`` of each folder of ``ZOO_PATH``, and the packaged ones."""
    return list_files("recipe")


def load_recipe(
    name_or_path: str | Path, overrides: Sequence[str] = (), *, search: Sequence[Path] | None = None
) -> Recipe:
    """Load a recipe by name or from a file, and check it against the entry it trains.

    Args:
        name_or_path: A name that :func:`list_recipes` returns, or a path (it has a slash or ends in ``.yaml``). Paths
            in a file are relative to its folder.
        overrides: Changes such as ``phases.p16.steps=100``.
        search: Folders in which the entry is looked up; default those of ``ZOO_PATH`` and the packaged one.

    Raises:
        UnknownName: No recipe has this name.
        SpecError: The recipe or its entry has errors; the text is the whole report.
    """
    return load_recipe_and_graph(name_or_path, overrides, search=search)[0]


def load_recipe_and_graph(
    name_or_path: str | Path, overrides: Sequence[str] = (), *, search: Sequence[Path] | None = None
) -> tuple[Recipe, EntryGraph]:
    """Load a recipe and the graph of the entry it trains; see :func:`load_recipe`."""
    path = find_file("recipe", name_or_path)
    tree = _read(path, ())
    if not is_path(name_or_path):
        check_name(tree, path.stem)
    return recipe_of_tree(tree, overrides, search=search)


def recipe_of_tree(
    tree: Mapping, overrides: Sequence[str] = (), *, search: Sequence[Path] | None = None
) -> tuple[Recipe, EntryGraph]:
    """Check a recipe's tree with overrides, and return it with the graph of its entry; see :func:`load_recipe`."""
    tree = apply_overrides(tree, overrides)
    problems = Problems()
    recipe, mended = validate_mended(Recipe, tree, problems, "a recipe", HARMLESS)
    if recipe is not None:
        recipe = recipe.map_paths(lambda text, keys: _placed(text, keys, locate(mended, *keys).file))
    graph = _graph(recipe, mended, problems, search)
    if recipe is not None and graph is not None:
        _Checker(recipe, graph, mended, problems).check()
    problems.raise_if_any()
    assert recipe is not None and graph is not None
    return recipe.model_copy(update={"evaluation": recipe.evaluation.fitted(graph.process.steps)}), graph


def _graph(recipe: Recipe | None, tree: Tree, problems: Problems, search: Sequence[Path] | None) -> EntryGraph | None:
    """Return the graph of a recipe's entry, or None if there is none or, beside other problems, it has errors.

    Args:
        recipe: The recipe, or None if it has errors; then its entry is looked up all the same.
        tree: Tree of the recipe.
        problems: Receives all errors.
        search: Folders in which the entry is looked up.
    """
    written = value_at(tree, "entry")
    try:
        _check_entry(written)
        if recipe is not None:
            return recipe_graph(recipe, search=search)
        if isinstance(written, Scalar) and isinstance(written.value, str):
            load_entry(_placed(written.value, ("entry",), written.position.file), search=search)
    except UnknownName as error:
        problems.add("unknown-entry", str(error), locate(tree, "entry"))
    except NoClasses as error:
        problems.add("conflict", str(error), locate(tree, "classes"))
    except SpecError as error:
        if all(each.position is not None and each.position.file.startswith("<override") for each in error.problems):
            for each in error.problems:
                problems.add(each.code, f"entry_overrides: {each.message}", locate(tree, "entry_overrides"))
            return None
        if not problems:
            raise  # with the references through which its file was reached
        problems.extend(error.problems)
    return None


def _check_entry(written: Tree | None) -> None:
    """Check the file of an entry that a recipe names by path."""
    if not (isinstance(written, Scalar) and isinstance(written.value, str) and is_path(written.value)):
        return
    if not written.position.file.startswith("<"):
        path = Path(_placed(written.value, ("entry",), written.position.file))
        check_reference(path, written.position, own_folders())


class NoClasses(ValueError):
    """A recipe sets the number of classes of an entry that has none."""


def recipe_graph(recipe: Recipe, *, search: Sequence[Path] | None = None) -> EntryGraph:
    """Return the graph of a recipe's entry, with the recipe's changes and number of classes.

    Raises:
        UnknownName: No entry has this name.
        SpecError: The entry has errors.
        NoClasses: The recipe sets the number of classes, and the entry has none.
    """
    graph = load_entry(recipe.entry, search=search).graph
    changes = entry_overrides(recipe, graph)
    return load_entry(recipe.entry, overrides=changes, search=search).graph if changes else graph


def entry_overrides(recipe: Recipe, graph: EntryGraph) -> list[str]:
    """Return the overrides with which a recipe trains its entry; see :func:`specs.load.load_entry`.

    Args:
        recipe: Recipe.
        graph: Graph of its entry, unchanged.

    Raises:
        NoClasses: The recipe sets the number of classes, and the entry has none.
    """
    changes = list(recipe.entry_overrides)
    if recipe.classes in (None, graph.classes):
        return changes
    if graph.classes is None:
        raise NoClasses(f"{graph.name} has no classes, so their number cannot be changed")
    path = "nest." * (len(graph.levels) - 1) + "inputs.classes"  # the innermost level has the inputs
    return [*changes, f"{path}={recipe.classes or 'null'}"]


def _read(path: Path, way: tuple[Path, ...]) -> Mapping:
    """Return a recipe's tree merged over the one that it extends; ``way`` holds the files that extend it."""
    tree = parse(path)
    if not isinstance(tree, Mapping):
        raise fail("wrong-type", "a recipe is a mapping of keys to values", tree.position)
    refuse_other_kind(tree, "recipe")
    return extended_tree(tree, path, way)


def extended_tree(tree: Mapping, path: Path, way: tuple[Path, ...] = ()) -> Mapping:
    """Return the tree of a recipe, or of a part of another file, merged over the recipe that its ``extends`` names.

    Args:
        tree: The tree.
        path: File that it was read from.
        way: Files that extend this one.

    Raises:
        SpecError: There is no such recipe, or it has errors.
    """
    extends = tree.get("extends")
    if extends is None:
        return tree
    if not isinstance(extends, Scalar) or not isinstance(extends.value, str):
        raise fail("wrong-type", "'extends' is the name of a recipe or a path to one", extends.position)
    way = (*way, _real(path))
    try:
        base = find_file("recipe", extends.value, path.parent)
    except UnknownName as error:
        raise fail("unknown-entry", str(error), extends.position) from None
    if is_path(extends.value):
        check_reference(base, extends.position, own_folders(), "a recipe")
    if len(way) > MAX_CHAIN:
        raise fail("too-large", f"more than {MAX_CHAIN} recipes extend each other in a chain", extends.position)
    if _real(base) in way:
        cycle = " -> ".join(file.stem for file in (*way, base))
        raise fail("cyclic-reference", f"recipes extend each other in a cycle: {cycle}", extends.position)
    return merge(drop(_read(base, way), *_OWN), drop(tree, "extends"))


def _real(path: Path) -> Path:
    """Return a path without links; unlike ``Path.resolve``, links in a circle are no error here."""
    return Path(os.path.realpath(path))


def _placed(text: str, keys: tuple[str, ...], file: str) -> str:
    """Return a path in a file relative to the current folder; names, URLs and overrides are returned unchanged."""
    placed = placed_beside(text, file)
    if keys == ("text_encoder",) and not text.startswith((".", "~")) and not Path(placed).is_dir():
        return text  # a model of the Hugging Face Hub, whose name has a slash
    return placed


class _Checker:
    """Checks a recipe against its entry.

    Args:
        recipe: The recipe.
        graph: Graph of its entry.
        tree: Tree that the recipe was read from, for positions.
        problems: Receives all errors.
    """

    def __init__(self, recipe: Recipe, graph: EntryGraph, tree: Tree, problems: Problems) -> None:
        self.recipe, self.graph, self.tree, self.problems = recipe, graph, tree, problems

    def check(self) -> None:
        """Check that levels exist, are trained from the inside out and have enough rows."""
        for label in self.recipe.loss.levels:
            self.is_level(label, "loss", "levels", label, key=True)
        drop = self.recipe.drop
        for kind in ("classes", "text"):
            if kind not in self.graph.conditions and kind in drop.model_fields_set and getattr(drop, kind):
                self.error("conflict", f"{self.graph.name} has no {kind} to drop", "drop", kind, key=True)
        if self.recipe.images is not None and not self.graph.is_video:
            message = f"{self.graph.name} has no level of more than one frame: name the images under 'data'"
            self.error("conflict", message, "images", key=True)
        for label in self.recipe.learning_rates:
            self.is_level(label, "learning_rates", label, key=True)
        self.check_evaluation()
        self.check_memory(self.recipe.memory, "memory")
        before: str | None = None
        for name, phase in self.recipe.phases.items():
            self.check_phase(name, phase, before)
            before = phase.train if phase.train in self.graph.labels else before

    def error(self, code: str, message: str, *path: str | int, key: bool = False) -> None:
        """Record an error at ``path``."""
        self.problems.add(code, message, locate(self.tree, *path, key=key))

    def is_level(self, label: str, *path: str | int, key: bool = False) -> bool:
        """Check that the entry has a level."""
        return self.is_in(label, self.graph.labels, f"{self.graph.name} has no level {quote(label)}", *path, key=key)

    def is_in(self, label: str, labels: Sequence[str], message: str, *path: str | int, key: bool = False) -> bool:
        """Check that a label is one of ``labels``; else report ``message`` with a suggestion."""
        if label not in labels:
            hint = did_you_mean(label, labels) or f"; its levels are {', '.join(labels)}"
            self.error("bad-value", message + hint, *path, key=key)
        return label in labels

    def check_evaluation(self) -> None:
        """Check that samples for a distance take no more steps than the process has."""
        try:
            self.recipe.evaluation.fitted(self.graph.process.steps)
        except ValueError as error:
            self.error("out-of-range", str(error), "evaluation", "num_inference_steps")

    def check_memory(self, memory: MemorySpec, *path: str) -> None:
        """Check that the levels to checkpoint exist; a phase that does not train one leaves it out."""
        for index, label in enumerate(() if memory.checkpoint == "auto" else memory.checkpoint):
            self.is_level(label, *path, "checkpoint", index)

    def check_phase(self, name: str, phase: PhaseSpec, before: str | None) -> None:
        """Check a phase; ``before`` is the level that the phase before trains."""
        at = ("phases", name)
        weighted = phase.loss.levels if phase.loss is not None else ()
        known = [label for label in weighted if self.is_level(label, *at, "loss", "levels", label, key=True)]
        self.check_weighting(name, phase)
        self.check_clipping(name, phase)
        if phase.memory is not None:
            self.check_memory(phase.memory, *at, "memory")
        if not self.is_level(phase.train, *at, "train"):
            return
        inside = self.graph.inner(phase.train).labels
        self.check_rates(name, phase, inside)
        for label in known:
            if label not in inside:
                message = f"phase {quote(name)} does not train {label}, which is outside {phase.train}"
                self.error("bad-value", message, *at, "loss", "levels", label, key=True)
        if before is not None and before not in inside:
            message = f"phase {quote(name)} trains {phase.train} after {before}; train levels from the inside out"
            self.error("bad-value", message, *at, "train")
        if phase.initialise == "before" and name == next(iter(self.recipe.phases)):
            message = f"phase {quote(name)} is the first one, so it cannot start from the phase before"
            self.error("bad-value", message, *at, "initialise")
        self.check_rows(name, phase, inside)
        self.check_trained(name, phase, inside)

    def check_rates(self, name: str, phase: PhaseSpec, labels: Sequence[str]) -> None:
        """Check that a phase trains the levels that it has learning rates for."""
        for label in phase.learning_rates or ():
            at = ("phases", name, "learning_rates", label)
            known = self.is_in(
                label, labels, f"phase {quote(name)} does not train a level {quote(label)}", *at, key=True
            )
            if known and label in phase.freeze:
                message = f"phase {quote(name)} freezes {label}, so it has no learning rate"
                self.error("conflict", message, *at, key=True)

    def check_weighting(self, name: str, phase: PhaseSpec) -> None:
        """Check that space and weighting of the loss are defined for what the network predicts."""
        loss = self.recipe.loss_of(phase)
        if self.graph.process.prediction == "eps" and loss.space != "eps":
            message = f"{self.graph.name} predicts eps: at the noisiest times, its error in {loss.space} has no bound"
            self.error("conflict", f"{message}; set 'space: eps'", *_loss(name, phase, "space"), "space")
        if loss.space != "eps" and loss.weighting.name != "none":
            message = f"weighting {quote(loss.weighting.name)} is defined for the eps space; set 'space: eps'"
            self.error("conflict", message, *_loss(name, phase, "space", "weighting"), "weighting")

    def check_clipping(self, name: str, phase: PhaseSpec) -> None:
        """Check that samples are clipped if the loss counts on it."""
        evaluation = self.recipe.evaluation
        clips = evaluation.clip and evaluation.dynamic_threshold is None
        if self.recipe.loss_of(phase).clip_x0 and not clips:
            key = "dynamic_threshold" if evaluation.clip else "clip"
            message = "with 'clip_x0', predictions may be beyond [-1, 1], and samplers have to clip them to it; leave"
            at = (*_loss(name, phase, "clip_x0"), "clip_x0")
            self.error("conflict", f"{message} {quote(key)} of the evaluation at its default", *at)

    def check_trained(self, name: str, phase: PhaseSpec, labels: Sequence[str]) -> None:
        """Check that a phase has a level with a loss, and a level that is not frozen."""
        for index, label in enumerate(phase.freeze):
            message = f"phase {quote(name)} has no level {quote(label)} to freeze"
            self.is_in(label, labels, message, "phases", name, "freeze", index)
        for index, label in enumerate(phase.cut):
            message = f"phase {quote(name)} has no level {quote(label)} inside another one to cut"
            self.is_in(label, labels[1:], message, "phases", name, "cut", index)
        if set(labels) <= set(phase.freeze):
            message = f"phase {quote(name)} freezes every level; none is left to train"
            self.error("conflict", message, "phases", name, "freeze", key=True)
        if not any(map(self.recipe.loss_of(phase).weight, labels)):
            message = f"phase {quote(name)} has no level with a loss"
            self.error("conflict", message, *_loss(name, phase, "levels"), "levels", key=True)

    def check_rows(self, name: str, phase: PhaseSpec, labels: Sequence[str]) -> None:
        """Check that no level has more rows than the level inside it."""
        if isinstance(phase.batch, int):
            return
        at = ("phases", name, "batch")
        for label in phase.batch:
            self.is_in(
                label, labels, f"phase {quote(name)} does not train a level {quote(label)}", *at, label, key=True
            )
        if phase.train not in phase.batch:
            self.error("missing-key", f"'batch' needs the rows of {phase.train}", *at, key=True)
            return
        rows = phase.rows(labels)
        for outer, inner in pairwise(labels):
            if rows[outer] > rows[inner]:
                message = f"level {outer} has {rows[outer]} rows, more than {inner} inside it ({rows[inner]})"
                self.error("bad-value", message, *at, outer)


def _loss(name: str, phase: PhaseSpec, *keys: str) -> tuple[str, ...]:
    """Return the path of the loss that sets any of ``keys``: the phase's, or the recipe's."""
    own = phase.loss is not None and phase.loss.model_fields_set & set(keys)
    return ("phases", name, "loss") if own else ("loss",)
