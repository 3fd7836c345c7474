"""``zoo data pack``: images or videos with captions or labels as webdataset shards."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from specs.printable import printable
from zoo.commands.data import NAMED
from zoo.commands.data.clip_options import Clips, Deadline, Frames, Lossless, Rate, Short, clip_settings
from zoo.commands.options import Quiet
from zoo.early.folder import local_output


def pack(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="Folder of images or videos, table (CSV, JSON, parquet), zip, or shards."
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", callback=local_output, help="Folder for the shards.")],
    name: Annotated[str | None, typer.Option(help="Name of the dataset. Default: the folder's.")] = None,
    resolution: Annotated[
        int | None, typer.Option(help="Side of stored images or frames in pixels. Default: unchanged.")
    ] = None,
    resize: Annotated[str, typer.Option(help="Resizing: center-crop, fit (the shorter side) or none.")] = "center-crop",
    val: Annotated[bool, typer.Option(help="Hold about one sample in ten out for validation.")] = True,
    licence: Annotated[str | None, typer.Option(help="Licence of the images, recorded in the card.")] = None,
    attribution: Annotated[str, typer.Option(help="Attribution of the images, recorded in the card.")] = "",
    image: Annotated[
        str | None,
        typer.Option(
            "--image",
            "--image-column",
            "--video",
            help="Column or JSON key of the paths of images or videos, or their name in shards.",
        ),
    ] = None,
    caption: Annotated[
        str | None, typer.Option("--caption", "--caption-column", help="Column or JSON key of captions.")
    ] = None,
    label: Annotated[
        str | None,
        typer.Option("--label", "--label-column", help="Column or JSON key of labels; folder for the folders' names."),
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Column or JSON key that groups near-duplicates; a group stays in one split.")
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(help="Delimiter of a CSV file, such as ; or tab. Default: found from its text."),
    ] = None,
    samples: Annotated[int, typer.Option(help="Maximum number of samples per shard.")] = 1000,
    max_broken: Annotated[float, typer.Option(help="Maximum share of broken files, and of unusable rows.")] = 0.01,
    frames: Frames = None,
    rate: Rate = None,
    clips: Clips = None,
    short: Short = None,
    lossless: Lossless = False,
    deadline: Deadline = None,
    workers: Annotated[int, typer.Option(help="Number of worker processes; 0 packs in this process.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Pack images, or clips of videos (--frames, --rate), into webdataset shards. Run the same command to resume."""
    from builders.data.packing.pack import PackSettings, check_settings
    from builders.data.packing.pack import pack as run
    from builders.data.packing.sources import recognise
    from zoo.terminal.progress import phase_bars

    chosen = clip_settings(frames, rate, clips, short, lossless, deadline)
    settings = PackSettings(
        resolution, resize, val, samples, max_broken, licence or "not stated", attribution, clips=chosen
    )
    check_settings(settings, workers)
    if os.path.realpath(out) == os.path.realpath(source):
        raise ValueError(f"{out}: is the source; choose another folder for the shards")
    found = recognise(
        source,
        caption=caption,
        label=label,
        group=group,
        image=image,
        delimiter=delimiter,
        max_broken=max_broken,
        videos=chosen is not None,
    )
    print(found.layout)
    for note in found.layout.notes:
        print(f"warning: {note}", file=sys.stderr)
    for line in found.layout.left_out:
        print(f"left out: {printable(line)}", file=sys.stderr)
    if licence is None:
        print("warning: no --licence; 'not stated' is recorded", file=sys.stderr)
    with phase_bars(quiet) as show:
        packed = run(
            found.sources,
            out,
            name or Path(os.path.realpath(out)).name,
            settings,
            workers=workers,
            progress=lambda done, total: show("packing", done, total),
        )
    _name("skipped", packed.broken)
    _name("too short", packed.short)
    counts = ", ".join(f"{count:,} {split}" for split, count in packed.samples.items())
    reused = f"; {packed.kept} of {packed.shards} shards reused" if packed.kept else ""
    noun = settings.media.noun
    broken = f"{len(packed.broken)} broken {noun}{'s' * (len(packed.broken) != 1)} skipped"
    if packed.short:
        broken += f"; {len(packed.short)} too short for a clip (--short loop and --short hold pack them)"
    print(f"{out}: {counts}; {len(packed.classes)} classes; {broken}{reused}")


def _name(what: str, problems: Sequence[str]) -> None:
    """Print the first of some problems."""
    for problem in problems[:NAMED]:
        print(f"{what}: {printable(str(problem))}", file=sys.stderr)
    if len(problems) > NAMED:
        print(f"and {len(problems) - NAMED:,} more", file=sys.stderr)
