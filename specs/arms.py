"""Load studies of arms: merge the changes of every arm over the base recipe, and check each as a recipe."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from specs.errors import Problems, SpecError, UnknownName, did_you_mean, fail, quote
from specs.graph import EntryGraph
from specs.library import find_file, is_path, placed_beside
from specs.recipe import extended_tree, recipe_of_tree
from specs.schemas.arms import ArmSpec, ArmStudy, ContrastSpec, CostSpec, SearchSpec
from specs.schemas.recipe import Recipe
from specs.study import has_arms
from specs.syntax.merge import drop, merge, put
from specs.syntax.other_kind import refuse_other_kind
from specs.syntax.overrides import apply_overrides
from specs.syntax.validation import check_name, validate
from specs.syntax.yaml_tree import Entry, Scalar, Tree, locate, parse, plain
from specs.syntax.yaml_tree import Mapping as TreeMapping
from specs.syntax.yaml_tree import Sequence as TreeSequence

__all__ = [
    "Arm", "ArmSpec", "ArmStudy", "ContrastSpec", "CostSpec", "LoadedArmStudy", "SearchSpec", "arm_study_of_tree",
    "arm_with_setting",
    "load_arm_study",
]  # fmt: skip

#: Keys of the base that the study itself has.
_OWN = {"name": "name", "summary": "summary", "data": "data", "seed": "seeds", "evaluation": "evaluation"}


@dataclass(frozen=True, slots=True)
class Arm:
    """An arm, checked.

    Attributes:
        name: Name of the arm.
        spec: What it changes.
        recipe: Its recipe, with the first seed. Phases with a share of the budget have one step.
        graph: Graph of the entry that the recipe trains, with its changes.
        shares: Shares of the budget by phase, of the phases that have no steps of their own.
    """

    name: str
    spec: ArmSpec
    recipe: Recipe
    graph: EntryGraph
    shares: Mapping[str, float]
    #: Tree of the recipe, for other settings.
    tree: TreeMapping = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class LoadedArmStudy:
    """A study of arms with its arms, and the file that it was read from.

    Attributes:
        study: The study.
        arms: Its arms, in their order.
        path: The file.
        overrides: Changes to the file.
    """

    study: ArmStudy
    arms: tuple[Arm, ...]
    path: Path
    overrides: tuple[str, ...] = ()

    def arm(self, name: str) -> Arm:
        """Return an arm by name.

        Raises:
            LookupError: There is no such arm.
        """
        for arm in self.arms:
            if arm.name == name:
                return arm
        names = [arm.name for arm in self.arms]
        hint = did_you_mean(name, names) or f"; there are {', '.join(names)}"
        raise LookupError(f"{self.study.name} has no arm {quote(name)}{hint}")


def load_arm_study(
    name_or_path: str | Path, overrides: Sequence[str] = (), *, search: Sequence[Path] | None = None
) -> LoadedArmStudy:
    """Load a study of arms by name or from a file, and check all its arms.

    Args:
        name_or_path: Name or path of the study, as for :func:`specs.study.load_study`.
        overrides: Changes such as ``budget.training_flops=1e12``.
        search: Folders in which entries are looked up; default those of ``ZOO_PATH`` and the packaged one.

    Raises:
        UnknownName: No study has this name.
        SpecError: The file or an arm has errors; the text is the whole report.
    """
    path = find_file("study", name_or_path)
    tree = parse(path)
    if isinstance(tree, TreeMapping) and not is_path(name_or_path):
        check_name(tree, path.stem)
    return arm_study_of_tree(tree, path, overrides, search=search)


def arm_study_of_tree(
    tree: Tree, path: Path, overrides: Sequence[str] = (), *, search: Sequence[Path] | None = None
) -> LoadedArmStudy:
    """Check the tree of a study of arms, and return it; see :func:`load_arm_study`.

    Args:
        tree: Tree of the study.
        path: Its file, for paths in it.
        overrides: As for :func:`load_arm_study`.
        search: As for :func:`load_arm_study`.
    """
    if not isinstance(tree, TreeMapping):
        raise fail("wrong-type", "a study is a mapping of keys to values", tree.position)
    refuse_other_kind(tree, "study")
    tree = apply_overrides(tree, overrides)
    study = validate(ArmStudy, tree, "a study")
    problems = Problems()
    _check_names(study, tree, problems)
    base = tree.get("base")
    assert isinstance(base, TreeMapping)
    for key, own in _OWN.items():
        if key in base.entries:
            message = f"the base of a study has no {quote(key)}: set {quote(own)} of the study"
            problems.add("conflict", message, locate(base, key, key=True))
    problems.raise_if_any()
    base = extended_tree(base, path)
    arms = tuple(_arms(study, tree, base, problems, search))
    problems.raise_if_any()
    _check_search(study, tree, arms, search)
    placed = {"data": _placed(study.data, locate(tree, "data").file), "reuse": tuple(_reused(study, tree, path))}
    return LoadedArmStudy(study.model_copy(update=placed), arms, path, tuple(overrides))


def arm_with_setting(arm: Arm, path: str, value: object, *, search: Sequence[Path] | None = None) -> Arm:
    """Return an arm with one setting of its recipe changed.

    Args:
        arm: The arm.
        path: Setting, such as ``optimizer.learning_rate``.
        value: Its value.
        search: As for :func:`load_arm_study`.

    Raises:
        SpecError: There is no such setting, or the value is wrong.
    """
    recipe, graph = recipe_of_tree(arm.tree, [f"{path}={json.dumps(value)}"], search=search)
    return replace(arm, recipe=recipe, graph=graph)


def _check_search(study: ArmStudy, tree: Tree, arms: Sequence[Arm], search: Sequence[Path] | None) -> None:
    """Check the setting and the values of a search in every arm."""
    if study.search is None:
        return
    problems = Problems()
    for index, value in enumerate(study.search.values):
        for arm in arms:
            try:
                arm_with_setting(arm, study.search.set, value, search=search)
            except SpecError as error:
                message = f"arm {quote(arm.name)} with {study.search.set}={value}: {error.problems[0].message}"
                problems.add("bad-value", message, locate(tree, "search", "values", index))
                break
    problems.raise_if_any()


def _reused(study: ArmStudy, tree: Tree, path: Path) -> Iterator[str]:
    """Yield the studies whose results are reused; each must be another study of arms."""
    for index, name in enumerate(study.reuse):
        where = locate(tree, "reuse", index)
        placed = _placed(name, where.file)
        try:
            found = find_file("study", placed)
        except UnknownName as error:
            raise fail("bad-value", str(error), where) from None
        if not found.is_file():
            raise fail("missing-file", f"no such file: {name}", where)
        if found.resolve() == path.resolve():
            raise fail("conflict", "a study reuses results of other studies, not its own", where)
        if not has_arms(parse(found)):
            raise fail("bad-value", f"{quote(name)} compares entries; results of studies of arms are reused", where)
        yield placed


def _check_names(study: ArmStudy, tree: Tree, problems: Problems) -> None:
    """Check that contrasts name arms of the study, and that no seed is used twice."""
    for name, contrast in study.contrasts.items():
        for index, arm in enumerate(contrast.arms):
            if arm not in study.arms:
                hint = did_you_mean(arm, study.arms) or f"; its arms are {', '.join(study.arms)}"
                where = locate(tree, "contrasts", name, "arms", index)
                problems.add("bad-value", f"the study has no arm {quote(arm)}{hint}", where)
        if contrast.arms[0] == contrast.arms[1]:
            where = locate(tree, "contrasts", name, "arms")
            problems.add("conflict", f"a contrast is between two arms, not {quote(contrast.arms[0])} and itself", where)
    if study.search is not None:
        both = sorted(set(study.search.seeds) & set(study.seeds))
        if both:
            message = f"a search has seeds of its own; {', '.join(map(str, both))} of the study would be used twice"
            problems.add("conflict", message, locate(tree, "search", "seeds"))


def _arms(
    study: ArmStudy, tree: TreeMapping, base: TreeMapping, problems: Problems, search: Sequence[Path] | None
) -> Iterator[Arm]:
    for name, spec in study.arms.items():
        where = locate(tree, "arms", name, key=True)
        changes = _at(tree, "arms", name, "recipe")
        try:
            for key, own in _OWN.items():
                if changes is not None and key in changes.entries:
                    raise fail(
                        "conflict", f"all arms have the same {own}: set {quote(own)} of the study",
                        locate(changes, key, key=True),
                    )  # fmt: skip
            merged = merge(base, changes) if changes is not None else base
            merged = _with_entry_changes(merged, _at(tree, "arms", name, "entry"))
            merged, shares = _without_shares(merged)
            merged = _complete(merged, study, name, tree)
            recipe, graph = recipe_of_tree(merged, search=search)
        except UnknownName as error:
            problems.add("unknown-entry", f"arm {quote(name)}: {error}", where)
        except SpecError as error:
            problems.extend(error.problems)
        else:
            yield Arm(name, spec, recipe, graph, shares, merged)


def _at(tree: TreeMapping, *keys: str) -> TreeMapping | None:
    found: Tree | None = tree
    for key in keys:
        found = found.get(key) if isinstance(found, TreeMapping) else None
    return found if isinstance(found, TreeMapping) and found.entries else None


def _complete(recipe: TreeMapping, study: ArmStudy, arm: str, tree: TreeMapping) -> TreeMapping:
    """Return the tree of an arm's recipe with what the study sets."""
    where = locate(tree, "arms", arm, key=True)
    data = tree.get("data")
    assert data is not None
    recipe = put(recipe, "name", Scalar(f"{study.name}-{arm}", where))
    recipe = put(recipe, "summary", Scalar(f"{arm} in the study {study.name}", where))
    recipe = put(recipe, "seed", Scalar(study.seeds[0], where))
    if "paired" not in recipe.entries:
        recipe = put(recipe, "paired", Scalar(True, where))
    evaluation = tree.get("evaluation")
    recipe = put(recipe, "evaluation", evaluation) if evaluation is not None else drop(recipe, "evaluation")
    return put(recipe, "data", data)


def _with_entry_changes(recipe: TreeMapping, changes: TreeMapping | None) -> TreeMapping:
    """Return a recipe whose ``entry_overrides`` have those of an arm too."""
    if changes is None:
        return recipe
    old = recipe.get("entry_overrides")
    items = [*(old.items if isinstance(old, TreeSequence) else ()), *_flat(changes, ())]
    return put(recipe, "entry_overrides", TreeSequence(tuple(items), changes.position))


def _flat(tree: Tree, keys: tuple[str, ...]) -> Iterator[Scalar]:
    """Yield the values of a mapping as changes of an entry: ``process.shift=2``."""
    if isinstance(tree, TreeMapping) and tree.entries:
        for key, entry in tree.entries.items():
            yield from _flat(entry.value, (*keys, key))
    else:
        yield Scalar(f"{'.'.join(keys)}={json.dumps(plain(tree))}", tree.position)


def _without_shares(recipe: TreeMapping) -> tuple[TreeMapping, dict[str, float]]:
    """Return a recipe whose phases have one step in place of a share of the budget, and the shares.

    Raises:
        SpecError: A share is no number from 0 to 1, is beside a length, or all together are more than the budget.
    """
    phases = recipe.get("phases")
    if not isinstance(phases, TreeMapping):
        return recipe, {}
    shares, changed = dict[str, float](), dict[str, Entry]()
    for name, entry in phases.entries.items():
        changed[name] = entry
        if not isinstance(entry.value, TreeMapping) or "share" not in entry.value.entries:
            continue
        where = locate(entry.value, "share")
        value: Any = plain(entry.value.entries["share"].value)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
            raise fail("out-of-range", f"'share' of phase {quote(name)} must be from 0 to 1", where)
        length = next((key for key in ("steps", "hours") if key in entry.value.entries), None)
        if length is not None:
            raise fail("conflict", f"phase {quote(name)} takes one of 'share' and {quote(length)}", where)
        shares[name] = float(value)
        rest = {key: each for key, each in entry.value.entries.items() if key != "share"}
        rest["steps"] = Entry(where, Scalar(1, where))
        changed[name] = entry._replace(value=TreeMapping(rest, entry.value.position))
    if sum(shares.values()) > 1 + 1e-9:
        total = sum(shares.values())
        raise fail("out-of-range", f"the phases share {total:g} of the budget; at most 1", phases.position)
    return put(recipe, "phases", TreeMapping(changed, phases.position)), shares


def _placed(text: str, file: str) -> str:
    """Return a path in a file relative to the current folder, if it exists beside that file; else the text itself."""
    placed = placed_beside(text, file)
    return placed if os.path.exists(placed.partition("{")[0]) else text
