"""``zoo results``: costs and results of all entries as CSV files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.early.folder import local_output


def results(
    output: Annotated[
        Path, typer.Option("--output", "-o", callback=local_output, help="Folder for the CSV files.")
    ] = Path("results"),
) -> None:
    """Write the costs and results of all entries as CSV files."""
    from registry.comparison.csv_tables import write_tables

    for path in write_tables(output):
        print(f"wrote {path}")
