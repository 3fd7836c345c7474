"""``zoo data make``: clips of a packaged dataset that is rendered, as webdataset shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from specs.errors import did_you_mean
from zoo.commands.options import Quiet
from zoo.early.folder import local_output


def make(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Packaged dataset that is rendered: moving-emoji.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", callback=local_output, help="Folder for the shards.")],
    clips: Annotated[int, typer.Option(help="Clips of each emoji, each with another motion: 1 to 9.")] = 1,
    lossless: Annotated[bool, typer.Option("--lossless", help="Store pixels exactly; files are larger.")] = False,
    quiet: Quiet = False,
) -> None:
    """Write the clips of a rendered dataset as webdataset shards. Run the same command to resume."""
    from builders.data.dataset import Dataset
    from builders.data.dataset_card import find_dataset, list_datasets
    from builders.data.moving.make import make as run
    from zoo.terminal.progress import phase_bars

    rendered = [each for each in list_datasets() if find_dataset(each)[0].rendered_from]
    if name not in rendered:
        hint = did_you_mean(name, rendered) or f"; rendered are {', '.join(rendered)}"
        raise ValueError(f"no rendered dataset {name!r}{hint}")
    with phase_bars(quiet) as show:
        made = run(
            Dataset(*find_dataset(name)),
            out,
            clips,
            lossless=lossless,
            progress=lambda done, total: show("rendering", done, total),
        )
    counts = ", ".join(f"{count:,} {split}" for split, count in made.samples.items())
    reused = f"; {made.kept} of {made.shards} shards reused" if made.kept else ""
    print(f"{out}: {counts} clips{reused}")
