"""``zoo check``: everything that is wrong with entries and recipes, before anything is built."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from registry.catalogue import get, list_names
from registry.entry import Entry
from specs.errors import SpecError, UnknownName, fail
from specs.library import is_path
from specs.load import load_text
from specs.recipe import list_recipes, load_recipe
from specs.syntax.yaml_tree import MAX_BYTES, Mapping, parse
from zoo.exit_codes import USER_ERROR

__all__ = ["check", "read"]

STDIN = "<stdin>"


def check(entries: Sequence[str], overrides: Sequence[str]) -> int:
    """Check each of several names, files or stdin (``-``); print OK lines to stdout, reports to stderr.

    Returns:
        0 if all are right, else 2.
    """
    wrong = 0
    for what in entries:
        try:
            if _is_recipe(what):
                recipe = load_recipe(what, overrides)
                print(f"OK recipe {recipe.name}  entry {recipe.entry}  phases {', '.join(recipe.phases)}")
                continue
            entry = read(what, overrides)
        except (SpecError, UnknownName) as error:
            print(error if isinstance(error, SpecError) else f"error: {error}", file=sys.stderr)
            wrong += 1
        else:
            levels = ", ".join(entry.labels)
            print(f"OK {entry.name}  hash {entry.hash}  graph {entry.graph_hash}  levels {levels}")
            for note in entry.notes:
                print(f"note: {note}", file=sys.stderr)
    return USER_ERROR if wrong else 0


def _is_recipe(what: str) -> bool:
    """Whether a name or a file is a recipe: a file with phases, or a name that only a recipe has."""
    if not is_path(what) and not Path(what).is_file():
        return what in list_recipes() and what not in list_names()
    try:
        tree = parse(what)
    except SpecError:
        return False  # read again as an entry, and reported there
    return isinstance(tree, Mapping) and "phases" in tree.entries


def read(what: str, overrides: Sequence[str]) -> Entry:
    """The entry of this name or in this file, or on stdin if ``what`` is ``-``.

    Raises:
        LookupError, SpecError: as :func:`registry.catalogue.get`.
    """
    if what != "-":
        return get(what, overrides)
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise fail("too-large", f"more than {MAX_BYTES} bytes", file=STDIN)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise fail("not-text", "this is not UTF-8 text", file=STDIN) from None
    return Entry(load_text(text, STDIN, overrides=overrides))
