"""``zoo expand`` and ``zoo schema``: an entry written out in full, and the JSON Schemas of files."""

from __future__ import annotations

from typing import Annotated

import typer

from specs.errors import did_you_mean
from zoo.commands.options import Name, Overrides, read_entry

KINDS = ("entry", "recipe", "study")


def expand(entry: Name, overrides: Overrides = None) -> None:
    """Print the full graph of an entry as YAML, with every short form written out."""
    print(read_entry(entry, overrides).expanded_yaml(), end="")


def schema(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="Kind of file: entry, recipe or study.",
            autocompletion=lambda incomplete: [each for each in KINDS if each.startswith(incomplete)],
        ),
    ] = "entry",
) -> None:
    """Print the JSON Schema of entries, recipes or studies, for editors."""
    from specs.schemas.json_schema import json_schema
    from zoo.terminal.console import print_json

    if kind not in KINDS:
        hint = did_you_mean(kind, KINDS) or f"; there are {', '.join(KINDS)}"
        raise ValueError(f"zoo schema has no kind {kind!r}{hint}")
    print_json(json_schema(kind))
