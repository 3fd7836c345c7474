"""Studies: several entries trained at one budget and measured under one protocol."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from specs.errors import Position, Problems, SpecError, UnknownName, fail, quote
from specs.graph import EntryGraph
from specs.library import find_file, is_path, list_files, own_folders, placed_beside
from specs.load import load_entry
from specs.public_names import offer
from specs.schemas.study import Study
from specs.syntax.other_kind import refuse_other_kind
from specs.syntax.overrides import apply_overrides
from specs.syntax.references import check_reference
from specs.syntax.validation import validate
from specs.syntax.yaml_tree import Mapping, Tree, locate, parse

__all__ = ["Study", "has_arms", "list_studies", "load_study", "load_study_and_graphs"]

__getattr__ = offer(__name__)


def list_studies() -> tuple[str, ...]:
    """Return the names of all studies: those in ``studies/`` of each folder of ``ZOO_PATH``, and the packaged ones."""
    return list_files("study")


def has_arms(tree: Tree) -> bool:
    """Return whether the file of a study compares arms of one recipe (:mod:`specs.arms`) rather than entries."""
    return isinstance(tree, Mapping) and not tree.entries.keys().isdisjoint(("arms", "base"))


def load_study(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Study:
    """Load a study by name or from a file.

    Args:
        name_or_path: A name that :func:`list_studies` returns, or a path (it has a slash or ends in ``.yaml``). Paths
            in a file are relative to its folder, or to the current folder if there is no such file in its folder.
        overrides: Changes such as ``budget.training_flops=1e12``.

    Raises:
        UnknownName: No study has this name.
        SpecError: The file has errors; the text is the whole report. Entries are not loaded.
    """
    return _read(name_or_path, overrides)[0]


def load_study_and_graphs(
    name_or_path: str | Path, overrides: Sequence[str] = (), *, search: Sequence[Path] | None = None
) -> tuple[Study, tuple[EntryGraph, ...]]:
    """Load a study with the graphs of its entries.

    Args:
        name_or_path: Name or path of the study, as for :func:`load_study`.
        overrides: Changes such as ``budget.training_flops=1e12``.
        search: Folders in which entries are looked up; default those of ``ZOO_PATH`` and the packaged one.

    Raises:
        UnknownName: No study has this name.
        SpecError: The file or an entry has errors, or two entries have one name; the text is the whole report.
    """
    study, tree = _read(name_or_path, overrides)
    return study, _graphs(study, tree, search)


def _read(name_or_path: str | Path, overrides: Sequence[str]) -> tuple[Study, Mapping]:
    tree = parse(find_file("study", name_or_path))
    if not isinstance(tree, Mapping):
        raise fail("wrong-type", "a study is a mapping of keys to values", tree.position)
    if has_arms(tree):
        raise fail("wrong-type", "this study has arms, not entries: load it with load_arm_study", tree.position)
    refuse_other_kind(tree, "study")
    tree = apply_overrides(tree, overrides)
    study = validate(Study, tree, "a study")
    entries = tuple(_placed(what, locate(tree, "entries", index).file) for index, what in enumerate(study.entries))
    data = _placed(study.data, locate(tree, "data").file)
    return study.model_copy(update={"entries": entries, "data": data}), tree


def _placed(text: str, file: str) -> str:
    """Return a path in a file relative to the current folder, if it exists beside that file; else the text itself."""
    placed = placed_beside(text, file)
    before_brace = placed.partition("{")[0]  # a range of shards
    exists = os.path.exists(placed) or (before_brace != placed and os.path.isdir(Path(before_brace).parent))
    return placed if exists else text


def _graphs(study: Study, tree: Mapping, search: Sequence[Path] | None) -> tuple[EntryGraph, ...]:
    problems, graphs = Problems(), dict[str, EntryGraph]()
    reached: dict[str, tuple[Position, ...]] = {}
    for index, what in enumerate(study.entries):
        where = locate(tree, "entries", index)
        try:
            if is_path(what) and not where.file.startswith("<"):
                check_reference(Path(what), where, own_folders())
            graph = load_entry(what, search=search).graph
        except UnknownName as error:
            problems.add("unknown-entry", str(error), where)
        except SpecError as error:
            problems.extend(error.problems)
            files = {each.position.file if each.position else each.file for each in error.problems}
            reached |= {file: (where,) for file in files if file is not None and file != where.file}
        else:
            if graph.name in graphs:
                problems.add(
                    "conflict", f"two entries are called {quote(graph.name)}; runs are named after them", where
                )
            graphs[graph.name] = graph
    problems.raise_if_any(reached)
    return tuple(graphs.values())
