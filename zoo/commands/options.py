"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["Device", "Json", "Name", "Overrides", "Quiet"]

Name = Annotated[str, typer.Argument(metavar="ENTRY", help="Name of an entry, YAML file, or - for stdin.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="PATH=VALUE", help="Change a value, as in stages.r64.width=96; repeatable."),
]
Device = Annotated[str | None, typer.Option(help="Such as cuda or cpu. Default: a GPU if there is one.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
