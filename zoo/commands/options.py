"""Arguments and options that several commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from registry.entry import Entry

STDIN = "<stdin>"


def read_entry(what: str, overrides: Sequence[str] | None = None) -> Entry:
    """Return the entry of this name or in this file, or on stdin if ``what`` is ``-``.

    Raises:
        LookupError, SpecError: As :func:`registry.catalogue.get`.
    """
    from registry.catalogue import get
    from registry.entry import Entry
    from specs.errors import fail
    from specs.load import load_text
    from specs.syntax.yaml_tree import MAX_BYTES

    if what != "-":
        return get(what, overrides or ())
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise fail("too-large", f"more than {MAX_BYTES} bytes", file=STDIN)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise fail("not-text", "this is not UTF-8 text", file=STDIN) from None
    return Entry(load_text(text, STDIN, overrides=overrides or ()))


def _hush(quiet: bool) -> bool:
    """Turn off the progress bars of downloads too; huggingface_hub reads the variable when it is imported."""
    if quiet:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    return quiet


Name = Annotated[str, typer.Argument(metavar="ENTRY", help="Name of an entry, a YAML file, or - for stdin.")]
Data = Annotated[str, typer.Argument(metavar="DATA", help="Name of a data set, a folder, shards or a URL.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="PATH=VALUE", help="Value to change: stages.r64.width=96. Repeatable."),
]
Device = Annotated[str | None, typer.Option(help="Device, such as cuda or cpu. Default: a GPU if there is one.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", callback=_hush, help="Show no progress.")]
Track = Annotated[bool, typer.Option(help="Log to MLflow.")]
RunFolder = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder of the run; resumes a run that is there. Default: runs/NAME."),
]
Sampler = Annotated[str, typer.Option(help="Sampler: ddim, ddpm or dpm++.")]
Steps = Annotated[int, typer.Option(help="Number of denoising steps.")]
Guidance = Annotated[float, typer.Option(help="Scale of classifier-free guidance; 1 turns it off.")]
GuidanceInterval = Annotated[
    tuple[float, float],
    typer.Option(metavar="FROM TO", help="Times with guidance, as shares from 0 (clean) to 1 (noise)."),
]
Eta = Annotated[float, typer.Option(help="Noise of ddim, from 0 to 1.")]
DynamicThreshold = Annotated[
    float | None, typer.Option(help="Quantile to which predicted images are limited, such as 0.995.")
]
Clip = Annotated[bool, typer.Option(help="Limit predicted images to the range of pixels.")]
