"""Load an entry: run the passes parse, resolve, override, validate, expand and check."""

from __future__ import annotations

from collections.abc import Mapping as PlainMapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specs import expanded_yaml as canonical
from specs import library
from specs.errors import Problems, UnknownName, fail, quote
from specs.graph import EntryGraph
from specs.library import list_names
from specs.passes.expand import expand
from specs.passes.frame_notes import frame_notes
from specs.passes.resolve import Resolved, resolve, resolve_variant
from specs.schemas.entry import EntrySpec
from specs.schemas.json_schema import json_schema
from specs.syntax.mending import validate_mended
from specs.syntax.merge import drop, is_null
from specs.syntax.other_kind import refuse_other_kind
from specs.syntax.overrides import apply_overrides
from specs.syntax.validation import validate_into
from specs.syntax.yaml_tree import Mapping, Scalar, Tree, parse_text

__all__ = [
    "Loaded",
    "expanded_yaml",
    "json_schema",
    "list_names",
    "load_entry",
    "load_mapping",
    "load_spec",
    "load_text",
    "load_variant",
]


#: Keys whose values the structure of a network does not depend on.
HARMLESS = frozenset({"summary", "process", "depth", "attention", "temporal", "repeat", "normalize_input"})


@dataclass(frozen=True, slots=True)
class Loaded:
    """A loaded entry: its spec, its graph and where it came from."""

    spec: EntrySpec
    graph: EntryGraph
    #: Files that it was read from, its own first.
    sources: tuple[Path, ...] = ()
    #: Notes for the user, such as widths that were rounded.
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the entry."""
        return self.spec.name


def load_entry(
    name_or_path: str | Path, *, overrides: Sequence[str] = (), search: Sequence[Path] | None = None
) -> Loaded:
    """Load an entry by name or from a file.

    Args:
        name_or_path: A name such as ``mdm-s64`` or ``mdm-s64.in1k``, or a path (it has a slash or ends in ``.yaml``).
        overrides: Changes such as ``stages.r64.width=96``.
        search: Folders in which names are looked up; default those of ``ZOO_PATH`` and the packaged one.

    Raises:
        UnknownName: No entry has this name; a ``LookupError`` with suggestions.
        SpecError: The entry has errors; a ``ValueError`` whose text is the whole report.
    """
    folders = library.folders() if search is None else search
    if library.is_path(name_or_path) and "\0" in str(name_or_path):
        raise fail("missing-file", "no file name has a NUL character", file=quote(str(name_or_path)))
    try:
        resolved = resolve(Path(name_or_path) if library.is_path(name_or_path) else name_or_path, folders)
    except UnknownName:
        if not name_or_path or not _exists(Path(name_or_path)):
            raise
        resolved = resolve(Path(name_or_path), folders)
    return _finish(resolved, overrides)


def _exists(path: Path) -> bool:
    """Return whether there is such a file; names that no file can have are of none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def load_text(
    text: str,
    filename: str = "<stdin>",
    *,
    overrides: Sequence[str] = (),
    search: Sequence[Path] | None = None,
    saved: bool = False,
) -> Loaded:
    """Load an entry from YAML text.

    Args:
        text: YAML of the entry.
        filename: Name of the text in messages.
        overrides: Changes such as ``stages.r64.width=96``.
        search: Folders in which names are looked up; default those of ``ZOO_PATH`` and the packaged one.
        saved: Whether the zoo wrote the text, as in checkpoints. A level of a nested entry has the shift of the whole
            entry then, which is an error in an entry of one level.

    Raises:
        SpecError: The entry has errors.
    """
    folders = library.folders() if search is None else search
    return _finish(resolve(parse_text(text, filename), folders), overrides, saved)


def load_variant(reference: Path | Tree, name: str, *, search: Sequence[Path] | None = None) -> Loaded:
    """Load a variant that a file or a parsed text declares.

    Args:
        reference: Path of the file, or its tree.
        name: Name of the variant.
        search: Folders in which names are looked up; default those of ``ZOO_PATH`` and the packaged one.

    Raises:
        SpecError: The variant has errors.
    """
    return _finish(resolve_variant(reference, name, library.folders() if search is None else search), ())


def load_mapping(mapping: PlainMapping[str, Any], filename: str = "<mapping>") -> Loaded:
    """Load an entry from dicts, lists and scalars.

    Raises:
        SpecError: The entry has errors.
    """
    return load_text(canonical.json_text(mapping, indent=1), filename)


def load_spec(spec: EntrySpec) -> Loaded:
    """Load a spec that was created or changed in Python.

    Raises:
        SpecError: The entry has errors.
    """
    return load_mapping(spec.model_dump(mode="json", by_alias=True, exclude_defaults=True), f"<spec {spec.name}>")


def _finish(resolved: Resolved, overrides: Sequence[str], saved: bool = False) -> Loaded:
    problems = Problems()
    refuse_other_kind(resolved.tree, "entry")
    tree = drop(apply_overrides(resolved.tree, overrides), "variants")
    _check_null(tree, problems)
    if problems:
        # Values are checked too, but keys whose value is missing are reported once.
        problems.extend(problem for problem in _schema_problems(_without_null(tree)) if problem.code != "missing-key")
        problems.raise_if_any(resolved.reached)
    spec, mended = validate_mended(EntrySpec, tree, problems, "an entry", HARMLESS)
    graph = None
    if spec is not None:
        assert isinstance(mended, Mapping)
        further = Problems()
        graph = expand(spec, mended, further, saved=saved)
        problems.extend(further)
    problems.raise_if_any(resolved.reached)
    assert spec is not None and graph is not None
    return Loaded(spec, graph, resolved.sources, (*resolved.notes, *frame_notes(graph)))


def _schema_problems(tree: Tree) -> Problems:
    problems = Problems()
    validate_into(EntrySpec, tree, problems)
    return problems


def _without_null(tree: Tree) -> Tree:
    if not isinstance(tree, Mapping):
        return tree
    entries = {key: entry._replace(value=_without_null(entry.value)) for key, entry in tree.entries.items()}
    return Mapping({key: entry for key, entry in entries.items() if not is_null(entry.value)}, tree.position)


def _check_null(tree: Tree, problems: Problems, key: str = "") -> None:
    """Check that no value is null: a null that removed an inherited key is gone by now."""
    if isinstance(tree, Mapping):
        for name, entry in tree.entries.items():
            _check_null(entry.value, problems, name)
    elif isinstance(tree, Scalar) and tree.value is None:
        message = f"{quote(key)} has no value, and there is no inherited key for null to remove"
        problems.add("null", message, tree.position)


def expanded_yaml(loaded: Loaded | EntryGraph) -> str:
    """Return an entry as an explicit graph in YAML, which loads to the same hash."""
    return canonical.expanded_yaml(loaded.graph if isinstance(loaded, Loaded) else loaded)
