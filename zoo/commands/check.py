"""``zoo check``: all errors of entries and recipes, before anything is built."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from zoo.commands.options import Overrides, read_entry
from zoo.exit_codes import USER_ERROR
from zoo.terminal.completion import complete_anything


def check(
    entries: Annotated[
        list[str],
        typer.Argument(
            metavar="ENTRY...", help="Names, YAML files, or - for stdin; recipes too.", autocompletion=complete_anything
        ),
    ],
    overrides: Overrides = None,
) -> int:
    """Check specs and recipes; report every error with its place in the file."""
    from specs.errors import SpecError, UnknownName
    from specs.recipe import load_recipe

    wrong = 0
    for what in entries:
        try:
            if _is_recipe(what):
                recipe = load_recipe(what, overrides or ())
                print(f"OK recipe {recipe.name}  entry {recipe.entry}  phases {', '.join(recipe.phases)}")
                continue
            entry = read_entry(what, overrides)
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
    """Return whether a name or file is a recipe: a file with phases, or a name that only a recipe has."""
    from registry.catalogue import list_names
    from specs.errors import SpecError
    from specs.library import is_path
    from specs.recipe import list_recipes
    from specs.syntax.yaml_tree import Mapping, parse

    if not is_path(what) and not Path(what).is_file():
        return what in list_recipes() and what not in list_names()
    try:
        tree = parse(what)
    except SpecError:
        return False  # read again as an entry, and reported there
    return isinstance(tree, Mapping) and "phases" in tree.entries
