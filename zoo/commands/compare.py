"""``zoo compare``: entries side by side in the terminal, and as an HTML report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.terminal.completion import complete_entry

if TYPE_CHECKING:
    from rich.table import Table

    from registry.comparison.compare import Comparison


def compare(
    entries: Annotated[
        list[str],
        typer.Argument(metavar="ENTRY...", help="Names of entries, or YAML files.", autocompletion=complete_entry),
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="An .html file for the report.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of training runs, for their curves.")] = Path("runs"),
) -> None:
    """Compare entries in a table and, with --output, in a self-contained report."""
    from registry.comparison.compare import compare_entries
    from registry.comparison.html_report import write_report
    from zoo.terminal.console import console

    if output is not None and output.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{output}: a report is an .html file")
    comparison = compare_entries(list(dict.fromkeys(entries)), runs)
    if output is not None:
        write_report(comparison, output)
    console().print(_table(comparison))
    if comparison.title is not None:
        print(comparison.title)
    for note in comparison.notes:
        print(f"note: {note}", file=sys.stderr)
    if output is not None:
        print(f"wrote {output}")


def _table(comparison: Comparison) -> Table:
    """Return the comparison as a table; the best value of each metric is bold."""
    from rich.table import Table
    from rich.text import Text

    from registry.costs.units import short, short_bytes

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("entry", style="bold", no_wrap=True)
    for title in ("levels", "parameters", "MACs", "FLOPs", "memory", *comparison.metrics):
        table.add_column(title, justify="right", no_wrap=title not in comparison.metrics)
    best = {metric: comparison.best(metric) for metric in comparison.metrics}
    for row in comparison.rows:
        cells: list[Text | str] = [
            "/".join(label.removeprefix("r") for label in row.entry.labels),
            f"{row.card.parameters:,}",
            short(row.card.macs),
            short(row.card.flops),
            short_bytes(row.card.memory.training),
        ]
        for metric in comparison.metrics:
            value = row.value(metric)
            style = "dim italic" if value is None else "bold green" if value == best[metric] else ""
            cells.append(Text("not measured" if value is None else f"{value:.4g}", style))
        table.add_row(row.entry.name, *cells)
    return table
