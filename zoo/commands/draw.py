"""``zoo draw``: a diagram of an entry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.commands.options import Name, Overrides, read_entry
from zoo.early.folder import local_output


def draw(
    entry: Name,
    output: Annotated[Path, typer.Option("--output", "-o", callback=local_output, help="A .svg, .png or .pdf file.")],
    overrides: Overrides = None,
) -> None:
    """Draw an entry's levels, stages and skips."""
    from registry.publishing.diagram import draw_entry

    draw_entry(read_entry(entry, overrides).architecture, output)
    print(f"wrote {output}")
