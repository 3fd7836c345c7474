"""``zoo show``: an entry's costs by level."""

from __future__ import annotations

from typing import Annotated

import typer

from zoo.commands.options import Json, Name, Overrides, read_entry


def show(
    entry: Name,
    overrides: Overrides = None,
    sampler: Annotated[str | None, typer.Option(help="Sampler of the counted sample: ddim, ddpm or dpm++.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps of that sample.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Its scale of classifier-free guidance; 1 is none.")] = None,
    as_json: Json = False,
) -> None:
    """Show an entry's levels with their parameters, MACs and FLOPs; nothing is built."""
    from zoo.terminal.console import console, print_json

    options = {"sampler": sampler, "num_inference_steps": steps, "guidance_scale": guidance}
    set_options = {name: value for name, value in options.items() if value is not None}
    card = read_entry(entry, overrides).card(**set_options)
    if as_json:
        print_json(card.as_dict())
    else:
        console().print(card)
