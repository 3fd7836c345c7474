"""Refuse a recipe where an entry is needed, and so on, in one sentence rather than one per key."""

from __future__ import annotations

from specs.errors import fail
from specs.syntax.yaml_tree import Mapping, Scalar, Tree

__all__ = ["refuse_other_kind"]

#: Keys that only one kind of file has.
_MARKS = {
    "entry": {"stages", "graph", "nest", "resolution", "process", "variants"},
    "recipe": {"phases", "entry", "optimizer"},
    "study": {"entries", "budget", "arms", "contrasts"},
}
_ARTICLES = {"entry": "an entry", "recipe": "a recipe", "study": "a study", "accelerator": "an accelerator"}


def refuse_other_kind(tree: Tree, wanted: str) -> None:
    """Raise if a file has keys of another kind of file, and none of its own.

    Args:
        tree: Tree of the file.
        wanted: Kind that is needed: "entry", "recipe", "study" or "accelerator".

    Raises:
        SpecError: The file is of another kind; the message says what to do.
    """
    if not isinstance(tree, Mapping):
        return
    keys = set(tree.entries)
    found = [kind for kind, marks in _MARKS.items() if keys & marks]
    if len(found) != 1 or found[0] == wanted:
        return
    kind, file = found[0], tree.position.file
    message = f"this is {_ARTICLES[kind]}, not {_ARTICLES[wanted]}{_advice(tree, kind, wanted, file)}"
    raise fail("wrong-type", message, tree.position)


def _advice(tree: Mapping, kind: str, wanted: str, file: str) -> str:
    if kind == "entry" and wanted == "recipe":
        return f"; to train it: zoo train {file} --data DATA"
    if kind == "study":
        return f"; to run it: zoo study {file}"
    if kind == "recipe":
        entry = tree.get("entry")
        named = f" (its entry is {entry.value})" if isinstance(entry, Scalar) and wanted == "entry" else ""
        return f"{named}; to train it: zoo train {file}"
    return ""
