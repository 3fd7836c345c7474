"""``zoo data inspect``: counts, sizes, classes and broken images or clips of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builders.files import check_writable
from specs.printable import printable
from zoo.commands.data import NAMED
from zoo.commands.options import Data, Json, Quiet
from zoo.early.data import check_data

if TYPE_CHECKING:
    from rich.table import Table

    from builders.data.inspection import Inspection


def inspect(
    name: Data,
    sheet: Annotated[Path | None, typer.Option(help="Path of a .png for a contact sheet.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Read every image or clip of a dataset: counts, sizes, classes, broken samples, a contact sheet.

    The exit code is 1 if none can be read.
    """
    check_data(name)
    if sheet is not None:
        if sheet.suffix.lower() != ".png":
            raise ValueError(f"--sheet {sheet}: a contact sheet is written as .png")
        check_writable(sheet.parent)

    from builders.data.inspection import inspect_dataset
    from builders.pictures import save_image
    from zoo.terminal.console import console, print_json
    from zoo.terminal.progress import phase_bars

    with phase_bars(quiet or as_json) as show:
        found = inspect_dataset(name, progress=lambda done, total: show("reading shards", done, total))
    if sheet is not None and found.sheet is not None:
        save_image(found.sheet, sheet)
    unreadable = bool(found.broken) and not found.samples
    if as_json:
        print_json(found.as_dict())
        return int(unreadable)
    console().print(_table(found))
    for error in found.broken[:NAMED]:
        print(f"broken: {printable(str(error))}")
    if len(found.broken) > NAMED:
        print(f"and {len(found.broken) - NAMED:,} more; --json lists all")
    if sheet is not None and found.sheet is not None:
        print(f"wrote {sheet}")
    return int(unreadable)


def _table(found: Inspection) -> Table:
    from rich.table import Table

    from specs.printable import printable

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    sizes = ", ".join(f"{width}x{height} ({count:,})" for (width, height), count in found.sizes)
    if len(found.sizes) > 1:
        sizes += "; from {}x{} to {}x{}".format(*found.smallest, *found.largest)
    rows = {
        "dataset": found.name,
        "licence": found.licence,
        "attribution": found.attribution,
        "shards": f"{found.shards}, {found.bytes / 2**20:.1f} MiB"
        if not found.rendered_from
        else f"none; rendered from {found.rendered_from} when drawn",
        "samples": ", ".join(_in_split(split, count) for split, count in found.samples.items()) or "none",
        "clips": _length(found),
        "sizes": sizes,
        "captions": f"{found.captions:,}",
        "classes": ", ".join(f"{printable(name or 'none')} ({count:,})" for name, count in found.classes.items()),
        "broken": f"{len(found.broken):,}",
        "left out": "; ".join(found.left_out),
    }
    for title, text in rows.items():
        if text:
            table.add_row(title, printable(text))  # escaped before its width is measured
    return table


def _length(found: Inspection) -> str:
    """Return the number of frames of a clip and their rate; "" for images."""
    if found.frames == 1:
        return ""
    return f"{found.frames} frames" + ("" if found.rate is None else f" at {found.rate:g} a second")


def _in_split(split: str, count: int) -> str:
    if split == "all":  # shards without a card
        return f"{count:,} (about one in ten is in val)"
    return f"{count:,} {split}"
