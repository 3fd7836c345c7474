"""``zoo card``: the model card of an entry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.commands.options import Name, Overrides, read_entry


def card(
    entry: Name,
    overrides: Overrides = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .md file; a diagram is drawn beside it. Default: print.")
    ] = None,
) -> None:
    """Write an entry's model card: Markdown with the front matter of the Hugging Face hub."""
    from registry.publishing.model_card import model_card, write_card

    found = read_entry(entry, overrides)
    if output is None:
        print(model_card(found), end="")
        return
    diagram = write_card(found, output)
    print(f"wrote {output} and {diagram}")
