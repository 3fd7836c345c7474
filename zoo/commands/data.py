"""``zoo data``: pack images into shards, inspect a dataset, encode its captions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.commands.options import Device, Json, Quiet

if TYPE_CHECKING:
    from rich.table import Table

    from builders.data.inspection import Inspection
    from specs.graph import TextInput

#: So many broken samples are named.
NAMED = 20

data = typer.Typer(help="Pack and inspect data sets, encode their captions.", no_args_is_help=True)


@data.command()
def pack(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A folder of images, a CSV or JSONL file, shards.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the shards.")],
    name: Annotated[str | None, typer.Option(help="Of the data set. Default: the folder's.")] = None,
    resolution: Annotated[int | None, typer.Option(help="Side in pixels. Default: images stay as they are.")] = None,
    resize: Annotated[str, typer.Option(help="center-crop, fit (the shorter side) or none.")] = "center-crop",
    val: Annotated[bool, typer.Option(help="Put about one sample in ten into the validation split.")] = True,
    held_out: Annotated[bool | None, typer.Option(hidden=True)] = None,
    licence: Annotated[str | None, typer.Option(help="Of the images; recorded.")] = None,
    attribution: Annotated[str, typer.Option(help="Whom to name.")] = "",
    caption: Annotated[str | None, typer.Option(help="Column or JSON key of captions.")] = None,
    label: Annotated[str | None, typer.Option(help="Column or JSON key of labels.")] = None,
    group: Annotated[
        str | None, typer.Option(help="Column or JSON key of near-duplicates, which stay on one side of the split.")
    ] = None,
    samples: Annotated[int, typer.Option(help="At most so many samples a shard.")] = 1000,
    max_broken: Annotated[float, typer.Option(help="Share of images that may be broken.")] = 0.01,
    workers: Annotated[int, typer.Option(help="Processes; 0 for none besides this one.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Pack images with captions or labels into webdataset shards; the same command goes on."""
    import sys

    from builders.data.packing.pack import PackSettings
    from builders.data.packing.pack import pack as run
    from builders.data.packing.sources import find_sources
    from zoo.terminal.progress import PhaseBar

    val = val if held_out is None else held_out
    settings = PackSettings(resolution, resize, val, samples, max_broken, licence or "not stated", attribution)
    if out.resolve() == Path(source).resolve():
        raise ValueError(f"{out}: is the SOURCE; choose another folder for the shards")
    sources = find_sources(source, caption=caption, label=label, group=group)
    if licence is None:
        print("warning: no --licence was given; 'not stated' is recorded", file=sys.stderr)
    with PhaseBar(quiet) as show:
        packed = run(
            sources,
            out,
            name or out.resolve().name,
            settings,
            workers=workers,
            progress=lambda done, total: show("packing", done, total),
        )
    for what in packed.broken[:NAMED]:
        print(f"passed over: {what}", file=sys.stderr)
    if len(packed.broken) > NAMED:
        print(f"and {len(packed.broken) - NAMED:,} more", file=sys.stderr)
    counts = ", ".join(f"{count:,} {split}" for split, count in packed.samples.items())
    kept = f"; {packed.kept} of {packed.shards} shards were there" if packed.kept else ""
    broken = f"{len(packed.broken)} broken image{'s' * (len(packed.broken) != 1)} passed over"
    typer.echo(f"{out}: {counts}; {len(packed.classes)} classes; {broken}{kept}")


@data.command()
def inspect(
    name: Annotated[str, typer.Argument(metavar="DATA", help="A data set's name, a folder, shards, an address.")],
    sheet: Annotated[Path | None, typer.Option(help="A .png for a contact sheet.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Read every image of a data set once: counts, sizes, classes, broken members, a contact sheet.

    The exit code is 1 where no image can be read.
    """
    from builders.data.inspection import inspect_dataset
    from builders.pictures import save_image
    from zoo.terminal.console import console, print_json
    from zoo.terminal.progress import PhaseBar

    with PhaseBar(quiet or as_json) as show:
        found = inspect_dataset(name, progress=lambda done, total: show("reading shards", done, total))
    if sheet is not None and found.sheet is not None:
        save_image(found.sheet, sheet)
    unreadable = bool(found.broken) and not found.samples
    if as_json:
        print_json(found.as_dict())
        return int(unreadable)
    console().print(_table(found))
    for what in found.broken[:NAMED]:
        typer.echo(f"broken: {what}")
    if len(found.broken) > NAMED:
        typer.echo(f"and {len(found.broken) - NAMED:,} more; --json names all")
    if sheet is not None and found.sheet is not None:
        typer.echo(f"wrote {sheet}")
    return int(unreadable)


def _table(found: Inspection) -> Table:
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    sizes = ", ".join(f"{width}x{height} ({count:,})" for (width, height), count in found.sizes)
    rows = {
        "data set": found.name,
        "licence": found.licence,
        "attribution": found.attribution,
        "shards": f"{found.shards}, {found.bytes / 2**20:.1f} MiB",
        "samples": ", ".join(f"{count:,} {split}" for split, count in found.samples.items()) or "none",
        "sizes": f"{sizes}; from {'x'.join(map(str, found.smallest))} to {'x'.join(map(str, found.largest))}"
        * bool(sizes),
        "captions": f"{found.captions:,}",
        "classes": ", ".join(f"{name or 'none'} ({count:,})" for name, count in found.classes.items()),
        "broken": f"{len(found.broken):,}",
    }
    for title, text in rows.items():
        if text:
            table.add_row(title, text)
    return table


@data.command()
def encode(
    name: Annotated[str, typer.Argument(metavar="DATA", help="A data set's name, a folder, shards, an address.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the states.")],
    entry: Annotated[str, typer.Option(help="Whose text input gives width and tokens.")] = "mdm-nano.text",
    text_encoder: Annotated[
        str, typer.Option(metavar="ENCODER", help="embedded, a T5 of the hub, or a folder with one.")
    ] = "embedded",
    precision: Annotated[str, typer.Option(help="Of a T5: auto, float32 or bfloat16.")] = "auto",
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Encode the captions of a data set once, for text_encoder of a recipe; the same command goes on."""
    text = _text_input(entry)

    from builders.text.encode_dataset import encode_dataset
    from builders.text.encoder import EMBEDDED
    from builders.text.open import open_text_encoder
    from zoo.device import pick_device
    from zoo.terminal.progress import PhaseBar

    if text_encoder == EMBEDDED and precision != "auto":
        raise ValueError(f"--precision is for a T5; the states of {EMBEDDED!r} are what they are")
    encoder = open_text_encoder(text_encoder, text, pick_device(device), precision=precision)
    with PhaseBar(quiet) as show:
        found = encode_dataset(
            name,
            out,
            encoder,
            progress=lambda done, total: show("encoding shards", done, total),  # type: ignore[arg-type]  # in parts
        )
    kept = f" ({found.kept:,} were there)" if found.kept else ""
    typer.echo(
        f"{out}: {found.captions:,} captions of {found.shards + found.kept:,} shards{kept} by {encoder.name}; "
        f"for recipes: text_encoder: {out}"
    )


def _text_input(entry: str) -> TextInput:
    from registry.catalogue import architecture

    text = architecture(entry).text
    if text is None:
        raise ValueError(f"{entry} reads no text; give an --entry that does, such as mdm-nano.text")
    return text
