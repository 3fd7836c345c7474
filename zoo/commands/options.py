"""Options that several commands share."""

from __future__ import annotations

import os
from typing import Annotated

import typer

__all__ = [
    "Clip",
    "Device",
    "DynamicThreshold",
    "Eta",
    "GuidanceInterval",
    "Json",
    "Name",
    "Overrides",
    "Quiet",
    "hush",
]


def hush(quiet: bool) -> bool:
    """Downloads of text encoders show no progress either; read by huggingface_hub as it is imported."""
    if quiet:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    return quiet


Name = Annotated[str, typer.Argument(metavar="ENTRY", help="Name of an entry, YAML file, or - for stdin.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="PATH=VALUE", help="Change a value, as in stages.r64.width=96; repeatable."),
]
Device = Annotated[str | None, typer.Option(help="Such as cuda or cpu. Default: a GPU if there is one.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", callback=hush, help="Show no progress.")]
Eta = Annotated[float, typer.Option(help="Noise of ddim, from 0 to 1.")]
GuidanceInterval = Annotated[
    tuple[float, float],
    typer.Option(metavar="FROM TO", help="Times with guidance, as shares from 0, clean, to 1, noise."),
]
DynamicThreshold = Annotated[
    float | None, typer.Option(help="Quantile by which predicted images are limited, such as 0.995.")
]
Clip = Annotated[bool, typer.Option(help="Limit predicted images to the range of pixels.")]
