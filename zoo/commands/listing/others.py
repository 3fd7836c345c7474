"""``zoo list recipes``, ``zoo list studies`` and ``zoo list data``."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

__all__ = ["list_others"]


def list_others(kind: str, pattern: str | None, plain: bool, as_json: bool) -> None:
    """Print recipes, studies or datasets.

    Args:
        kind: ``recipes``, ``studies`` or ``data``.
        pattern: Glob for their names.
        plain: Print only names.
        as_json: Print JSON.

    Raises:
        ValueError: None matches the pattern.
    """
    from registry.listing import list_rows
    from zoo.terminal.console import console, print_json
    from zoo.terminal.tables import print_table

    rows = list_rows(kind)
    if pattern is not None:
        rows = [row for row in rows if fnmatchcase(row["name"].lower(), pattern.lower())]
        if not rows:
            raise ValueError(f"none of the {kind} matches {pattern!r}; 'zoo list {kind}' shows all")
    if as_json:
        print_json(rows)
    elif plain:
        print("\n".join(row["name"] for row in rows))
    else:
        print_table([_cells(kind, row) for row in rows], console=console(), text="summary", left=("entry", "data"))


def _cells(kind: str, row: dict[str, Any]) -> dict[str, str]:
    """Return a row as text, by title."""
    if "error" in row:
        row = dict.fromkeys(("entry", "data", "entries", "training_flops", "licence")) | row
        row["summary"] = f"cannot be read; 'zoo check {row['name']}' says why"
    count = {"recipes": ("steps",), "studies": (), "data": ("classes",)}[kind]
    cells = {"name": row["name"]}
    if kind == "recipes":
        cells |= {"entry": row["entry"] or "", "data": row["data"] or ""}
    elif kind == "studies":
        flops = row["training_flops"]
        cells |= {"entries": str(len(row["entries"] or ())), "data": row["data"] or ""}
        cells |= {"FLOPs per entry": "" if flops is None else f"{flops:g}"}
    else:
        samples = row.get("samples") or {}
        cells |= {"samples": ", ".join(f"{number or 0:,} {split}" for split, number in samples.items())}
        cells |= {"frames": str(row["frames"]) if (row.get("frames") or 1) > 1 else "", "licence": row["licence"] or ""}
    cells |= {title: f"{row[title]:,}" if row.get(title) is not None else "" for title in count}
    return cells | {"summary": row["summary"]}
