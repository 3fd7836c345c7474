"""Check what a name, a file, a folder or a text holds, and report every error with its place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from registry.catalogue import get, search_path
from registry.checking.kinds import kind_of
from registry.entry import Entry
from specs.addresses import without_secrets
from specs.arms import LoadedArmStudy, arm_study_of_tree, load_arm_study
from specs.errors import Position, Problem, SpecError, UnknownName, quote
from specs.library import SUFFIXES, find_file, is_path, list_files
from specs.load import load_text, load_variant
from specs.recipe import load_recipe_and_graph
from specs.study import has_arms, load_study_and_graphs
from specs.syntax.validation import check_name
from specs.syntax.yaml_tree import Mapping, Tree, parse, parse_text, value_at
from specs.user_paths import expanded

__all__ = ["Checked", "check"]


@dataclass(frozen=True)
class Checked:
    """What was found at one place, and its errors.

    Attributes:
        what: Name or path that was checked, ``<stdin>`` for a text.
        kind: Kind: entry, variant, recipe, study, tag, names, or file if it could not be told.
        name: Name that it has, or its path.
        facts: Facts by name, such as hash and levels; empty if there are errors.
        notes: Notes, such as widths that were rounded.
        problems: Errors.
        error: Text of all errors; None if there are none.
    """

    what: str
    kind: str
    name: str
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        problems = [_problem(each) for each in self.problems]
        if self.error is not None and not problems:
            problems = [{"code": "unknown-entry", "message": self.error}]
        plain = {
            "what": self.what,
            "kind": self.kind,
            "name": self.name,
            "ok": self.error is None,
            **self.facts,
            "notes": list(self.notes),
            "problems": problems,
        }
        return {key: _public(value) for key, value in plain.items()}


def check(what: str, overrides: Sequence[str] = (), *, text: str | None = None) -> Iterator[Checked]:
    """Check a name, a file with its variants, or all files of a folder.

    Args:
        what: Name of an entry, recipe or study, or path of a file or folder; of a text, its name in messages.
        overrides: Changes such as ``stages.r64.width=96``; variants are checked without them.
        text: YAML to check instead of a file.

    Yields:
        The result of each entry, variant, recipe or study.
    """
    path = expanded(what)
    if text is not None:
        yield from _check_tree(what, None, lambda: parse_text(text, what), overrides, text)
    elif what and os.path.isdir(path) and what not in (*list_files("recipe"), *list_files("study")):
        yield from _check_folder(path, overrides)
    elif is_path(what) or os.path.isfile(path):
        yield from _check_tree(what, path, lambda: parse(path), overrides)
    else:
        yield from _check_name(what, overrides)


def _check_name(name: str, overrides: Sequence[str]) -> Iterator[Checked]:
    """Check all that have a name: it may be that of an entry and of a recipe."""
    found = [kind for kind in ("recipe", "study") if name in list_files(kind)]
    try:
        entry = _entry(name, lambda: get(name, overrides))
        yield from (entry,)
    except UnknownName as error:
        if not found:
            yield Checked(name, "file", name, {}, error=f"error: {error}")
    for kind in found:
        yield _other(name, kind, name, overrides)


def _check_folder(folder: Path, overrides: Sequence[str]) -> Iterator[Checked]:
    """Check the YAML files of a folder and of its subfolders, hidden ones left out."""
    empty = True
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.endswith(SUFFIXES) and not name.startswith("."):
                path = Path(place, name)
                empty = False
                yield from _check_tree(str(path), path, lambda path=path: parse(path), overrides, folder=True)  # type: ignore[misc]
    if empty:
        problem = Problem("missing-file", "there are no YAML files in this folder", file=str(folder))
        yield _wrong(str(folder), "folder", str(folder), SpecError([problem]))


def _check_tree(
    what: str,
    path: Path | None,
    read: Callable[[], Tree],
    overrides: Sequence[str],
    text: str | None = None,
    folder: bool = False,
) -> Iterator[Checked]:
    try:
        tree = read()
    except SpecError as error:
        yield _wrong(what, "file", what, error)
        return
    kind = kind_of(tree, path)
    if kind is None and folder and path is not None:
        yield Checked(what, "file", what, {}, notes=(f"{what}: skipped, no entry, recipe or study",))
    elif kind in ("recipe", "study") and path is not None:
        yield _named(_other(what, kind, path, overrides), tree, path, folder)
    elif kind in ("tag", "names", "dataset") or kind in ("recipe", "study"):
        yield _plain_file(what, kind, tree, path)
    else:
        base = _entry(
            what,
            lambda: (
                Entry(load_text(text, what, overrides=overrides, search=search_path()))
                if text is not None
                else get(str(path) if is_path(str(path)) else f"./{path}", overrides)
            ),
        )
        yield _named(base, tree, path, folder)
        yield from _check_variants(what, path, tree, base)


def _entry(what: str, load: Callable[[], Entry]) -> Checked:
    try:
        entry = load()
    except SpecError as error:
        return _wrong(what, "entry", what, error)
    return _fine_entry(what, "entry", entry)


def _fine_entry(what: str, kind: str, entry: Entry) -> Checked:
    facts = {"hash": entry.hash, "graph_hash": entry.graph_hash, "levels": list(entry.labels)}
    return Checked(what, kind, entry.name, facts, entry.notes)


def _check_variants(what: str, path: Path | None, tree: Tree, base: Checked) -> Iterator[Checked]:
    """Check the variants of an entry's file; errors of its own that a variant inherits are reported once."""
    variants = value_at(tree, "variants")
    if not isinstance(variants, Mapping):
        return
    known = {key for each in base.problems for key in _keys(each)}
    for name, declared in variants.entries.items():
        if not isinstance(declared.value, Mapping):
            continue  # reported with the file
        try:
            loaded = load_variant(path if path is not None else tree, name, search=search_path())
        except SpecError as error:
            own = {declared.key, *_positions(declared.value)}
            new = [each for each in error.problems if not _keys(each) & known]
            problems = dict.fromkeys(_in_variant(each, name, declared.key, own) for each in new)
            if problems:
                yield _wrong(what, "variant", name, SpecError(problems))
        else:
            if base.error is None:
                yield _fine_entry(what, "variant", Entry(loaded))


def _keys(problem: Problem) -> set[tuple[str, Any]]:
    """Return what identifies an error; one of a whole mapping is at another place in a variant."""
    return {(problem.code, problem.position), (problem.code, problem.message)}


def _in_variant(problem: Problem, name: str, key: Position, own: set[Position]) -> Problem:
    """Return a problem at its place in the variant, or at the variant's name if it shows elsewhere."""
    if problem.position in own:
        return problem
    elsewhere = f" (at {problem.position})" if problem.position is not None else ""
    message = f"variant {quote(name)}: {problem.message}{elsewhere}"
    return replace(problem, message=message, position=key, file=None, reached=())


def _positions(tree: Tree) -> Iterator[Position]:
    yield tree.position
    if isinstance(tree, Mapping):
        for entry in tree.entries.values():
            yield entry.key
            yield from _positions(entry.value)
    for item in getattr(tree, "items", ()):
        yield from _positions(item)


def _other(what: str, kind: str, reference: str | Path, overrides: Sequence[str]) -> Checked:
    """Check a recipe or a study."""
    try:
        if kind == "recipe":
            recipe, _ = load_recipe_and_graph(reference, overrides, search=search_path())
            return Checked(what, kind, recipe.name, {"entry": recipe.entry, "phases": list(recipe.phases)})
        path = find_file("study", reference)
        if has_arms(parse(path)):
            loaded = load_arm_study(reference, overrides, search=search_path())
            return Checked(what, kind, loaded.study.name, _arm_facts(loaded))
        study, graphs = load_study_and_graphs(reference, overrides, search=search_path())
        facts = {"entries": [graph.name for graph in graphs], "data": study.data}
        return Checked(what, kind, study.name, facts)
    except SpecError as error:
        return _wrong(what, kind, what, error)


def _arm_facts(loaded: LoadedArmStudy) -> dict[str, Any]:
    entries = dict.fromkeys(arm.graph.name for arm in loaded.arms)
    return {"entries": list(entries), "arms": [arm.name for arm in loaded.arms], "data": loaded.study.data}


def _plain_file(what: str, kind: str, tree: Tree, path: Path | None) -> Checked:
    """Check a file of another kind, or a recipe or study on stdin."""
    from specs.recipe import recipe_of_tree
    from specs.schemas.entry import TagSpec, validate
    from specs.schemas.study import Study

    name = path.stem if path is not None else what
    try:
        if kind == "recipe" and isinstance(tree, Mapping):
            recipe, _ = recipe_of_tree(tree, search=search_path())
            return Checked(what, kind, recipe.name, {"entry": recipe.entry, "phases": list(recipe.phases)})
        if kind == "study" and has_arms(tree):
            loaded = arm_study_of_tree(tree, path or Path(what), search=search_path())
            return Checked(what, kind, loaded.study.name, _arm_facts(loaded))
        if kind == "study":
            return Checked(what, kind, validate(Study, tree, "a study").name, {})
        if kind == "tag":
            name = validate(TagSpec, tree, "a tag").name
    except SpecError as error:
        return _wrong(what, kind, name, error)
    return Checked(what, kind, name, {})


def _named(found: Checked, tree: Tree, path: Path | None, folder: bool) -> Checked:
    """Return a result with an error if a file in a folder is not named after its entry, so that no name finds it."""
    if not folder or path is None or found.error is not None or not isinstance(tree, Mapping):
        return found
    try:
        check_name(tree, path.stem)
    except SpecError as error:
        return _wrong(found.what, found.kind, found.name, error)
    return found


def _wrong(what: str, kind: str, name: str, error: SpecError) -> Checked:
    return Checked(what, kind, name, {}, problems=error.problems, error=str(error))


def _public(value: Any) -> Any:
    """Return plain data whose texts have no secrets of addresses."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, dict):
        return {key: _public(each) for key, each in value.items()}
    return [_public(each) for each in value] if isinstance(value, (list, tuple)) else value


def _problem(problem: Problem) -> dict[str, Any]:
    where = problem.position
    place = (
        {"file": problem.file} if where is None else {"file": where.file, "line": where.line, "column": where.column}
    )
    return {"code": problem.code, "message": problem.message, **place}
