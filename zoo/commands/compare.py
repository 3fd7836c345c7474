"""``zoo compare``: entries side by side in the terminal, and as an HTML report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.commands.options import Json
from zoo.early.folder import local_output
from zoo.terminal.completion import complete_entry

if TYPE_CHECKING:
    from registry.comparison.compare import Comparison


def compare(
    entries: Annotated[
        list[str],
        typer.Argument(
            metavar="ENTRY...", help="Names of entries, YAML files, or folders of runs.", autocompletion=complete_entry
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", callback=local_output, help="An .html file for the report.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder of training runs, for their curves.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """Compare entries or runs in a table and, with --output, in a self-contained report."""
    from registry.comparison.compare import compare_entries
    from registry.comparison.html_report import write_report
    from zoo.terminal.console import print_json

    if output is not None and output.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{output}: a report is an .html file")
    comparison = compare_entries(list(dict.fromkeys(entries)), runs)
    if output is not None:
        write_report(comparison, output)
    if as_json:
        print_json(_as_dict(comparison))
        return
    _print_table(comparison)
    if comparison.title is not None:
        print(comparison.title)
    for note in comparison.notes:
        print(f"note: {note}", file=sys.stderr)
    if output is not None:
        print(f"wrote {output}")


def _print_table(comparison: Comparison) -> None:
    """Print the comparison as a table; the best value of each metric is bold."""
    from rich.text import Text

    from registry.costs.units import short, short_bytes
    from zoo.terminal.console import console
    from zoo.terminal.tables import print_table

    best = {metric: comparison.best(metric) for metric in comparison.metrics}
    rows: list[dict[str, str | Text]] = []
    for row in comparison.rows:
        cells: dict[str, str | Text] = {
            "entry": row.name,
            "levels": "/".join(label.removeprefix("r") for label in row.entry.labels),
            "parameters": f"{row.card.parameters:,}",
            "MACs": short(row.card.macs),
            "FLOPs": short(row.card.flops),
            "activations": short_bytes(row.card.memory.training),
        }
        for metric in comparison.metrics:
            value = row.value(metric)
            style = "dim italic" if value is None else "bold green" if value == best[metric] else ""
            cells[metric] = Text("not measured" if value is None else f"{value:.4g}", style)
        rows.append(cells)
    print_table(rows, console=console(), optional=("MACs", "activations"), turn=True)


def _as_dict(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as plain data, for JSON."""
    return {
        "conditions": comparison.title,
        "metrics": list(comparison.metrics),
        "entries": [
            {
                "name": row.name,
                "hash": row.entry.hash,
                "levels": list(row.entry.labels),
                "parameters": row.card.parameters,
                "macs": row.card.macs,
                "flops": row.card.flops,
                "activation_bytes_training": row.card.memory.training,
                "choices": row.params,
                "measured": {metric: row.value(metric) for metric in comparison.metrics},
            }
            for row in comparison.rows
        ],
        "notes": list(comparison.notes),
    }
