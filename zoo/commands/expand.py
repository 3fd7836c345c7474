"""``zoo expand`` and ``zoo schema``: an entry written out in full, and the JSON Schema of entries."""

from __future__ import annotations

from zoo.commands.options import Name, Overrides, read_entry


def expand(entry: Name, overrides: Overrides = None) -> None:
    """Print the full graph of an entry as YAML, with every short form written out."""
    print(read_entry(entry, overrides).expanded_yaml(), end="")


def schema() -> None:
    """Print the JSON Schema of entries, for editors."""
    from specs.load import json_schema
    from zoo.terminal.console import print_json

    print_json(json_schema())
