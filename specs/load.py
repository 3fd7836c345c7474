"""The passes in a row: parse, resolve, override, validate, expand, check."""

from __future__ import annotations

from collections.abc import Mapping as PlainMapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specs import library
from specs.errors import Problems, UnknownName, quote
from specs.graph import EntryGraph
from specs.library import list_names
from specs.passes.expand import expand
from specs.passes.resolve import Resolved, resolve
from specs.schemas.entry import EntrySpec
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
]


@dataclass(frozen=True, slots=True)
class Loaded:
    """An entry after all passes."""

    spec: EntrySpec
    graph: EntryGraph
    #: The files it was made from, its own first.
    sources: tuple[Path, ...] = ()
    #: What a reader should know, such as widths that were rounded.
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the entry."""
        return self.spec.name


def load_entry(
    name_or_path: str | Path, *, overrides: Sequence[str] = (), search: Sequence[Path] | None = None
) -> Loaded:
    """Load an entry of the zoo by name, or one in a file.

    Args:
        name_or_path: a name such as ``mdm-s64`` or ``mdm-s64.in1k``, or a path (it has a slash or ends in .yaml).
        overrides: changes such as ``stages.r64.width=96``.
        search: folders to look names up in, by default those of ``ZOO_PATH`` and the packaged one.

    Raises:
        UnknownName: no entry has this name; a ``LookupError`` with suggestions.
        SpecError: the entry is wrong; a ``ValueError`` whose text is the whole report.
    """
    folders = library.folders() if search is None else tuple(search)
    problems = Problems()
    try:
        wanted = Path(name_or_path) if library.is_path(name_or_path) else name_or_path
        resolved = resolve(wanted, folders, problems)
    except UnknownName:
        if not name_or_path or not Path(name_or_path).exists():
            raise
        resolved = resolve(Path(name_or_path), folders, problems)
    return _finish(resolved, overrides, problems)


def load_text(
    text: str, filename: str = "<stdin>", *, overrides: Sequence[str] = (), search: Sequence[Path] | None = None
) -> Loaded:
    """Load an entry from YAML text; ``filename`` is what messages call it, ``search`` as for ``load_entry``.

    Raises:
        SpecError: the entry is wrong.
    """
    problems = Problems()
    return _finish(
        resolve(parse_text(text, filename), library.folders() if search is None else tuple(search), problems),
        overrides,
        problems,
    )


def load_mapping(mapping: PlainMapping[str, Any], filename: str = "<mapping>") -> Loaded:
    """Load an entry from plain data, as YAML would give it.

    Raises:
        SpecError: the entry is wrong.
    """
    from specs.expanded_yaml import json_text

    return load_text(json_text(mapping, indent=1), filename)


def load_spec(spec: EntrySpec) -> Loaded:
    """Expand and check a spec that was made or changed in Python.

    Raises:
        SpecError: the entry is wrong.
    """
    return load_mapping(spec.model_dump(mode="json", by_alias=True, exclude_defaults=True), f"<spec {spec.name}>")


def _finish(resolved: Resolved, overrides: Sequence[str], problems: Problems) -> Loaded:
    tree = _named(apply_overrides(resolved.tree, overrides))
    _check_null(tree, problems)
    problems.raise_if_any(resolved.reached)
    spec = validate_into(EntrySpec, tree, problems)
    problems.raise_if_any(resolved.reached)
    assert spec is not None
    graph = expand(spec, tree, problems)
    problems.raise_if_any(resolved.reached)
    assert graph is not None
    return Loaded(spec, graph, resolved.sources, resolved.notes)


def _check_null(tree: Tree, problems: Problems, key: str = "") -> None:
    """Null removes what is inherited; where nothing was, a value is missing."""
    if isinstance(tree, Mapping):
        for name, entry in tree.entries.items():
            _check_null(entry.value, problems, name)
    elif isinstance(tree, Scalar) and tree.value is None:
        message = f"{quote(key)} has no value; null removes an inherited key, and there is none"
        problems.add("null", message, tree.position)


def _named(tree: Tree) -> Mapping:
    """The entry with its variants left out: they are entries of their own."""
    assert isinstance(tree, Mapping)
    return Mapping({key: entry for key, entry in tree.entries.items() if key != "variants"}, tree.position)


def expanded_yaml(loaded: Loaded | EntryGraph) -> str:
    """The entry as an explicit graph, which loads again to the same hash."""
    from specs import expanded_yaml as canonical

    return canonical.expanded_yaml(loaded.graph if isinstance(loaded, Loaded) else loaded)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of an entry's file, for editors."""
    schema = EntrySpec.model_json_schema()
    reference = {"type": "string", "description": "the name of an entry, or a path to one"}
    level = schema["$defs"]["LevelSpec"]
    for owner in (schema, level):
        owner["properties"]["extends"] = reference
        nest = {"anyOf": [reference, {"$ref": "#/$defs/LevelSpec"}, {"type": "null"}]}
        owner["properties"]["nest"] = nest
        # What a level extends may give the rest.
        owner["required"] = []
    # A stage of an entry that extends another says what it changes alone.
    schema["$defs"]["StageSpec"]["required"] = []
    schema["properties"]["variants"] = {"type": "object", "additionalProperties": {"type": "object"}}
    schema["required"] = ["name"]
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Entry of the Matryoshka model zoo"
    return schema
