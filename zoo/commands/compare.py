"""``zoo compare``: entries side by side in the terminal, and as a report that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from registry.costs.units import short, short_bytes

if TYPE_CHECKING:
    from rich.table import Table

    from registry.comparison.compare import Comparison

__all__ = ["compare_command", "comparison_table"]


def compare_command(names: Sequence[str], out: Path | None = None, runs: Path = Path("runs")) -> Comparison:
    """Compare entries; write a report if a file is named for it.

    Raises:
        LookupError, SpecError, ValueError: an entry is not there or wrong, or the file is no .html.
    """
    from registry.comparison.compare import compare_entries
    from registry.comparison.html_report import write_report

    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{out}: a report is an .html file")
    comparison = compare_entries(list(dict.fromkeys(names)), runs)
    if out is not None:
        write_report(comparison, out)
    return comparison


def comparison_table(comparison: Comparison) -> Table:
    """The comparison for the terminal; the best of each metric is bold."""
    from rich.table import Table
    from rich.text import Text

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
