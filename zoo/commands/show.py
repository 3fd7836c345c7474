"""``zoo show``: an entry's costs by level."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from specs.schemas.sampling import SamplerSpec
from zoo.commands.options import Json, Name, Overrides, read_entry, read_settings

if TYPE_CHECKING:
    from registry.costs.counters import Counts


def show(
    entry: Name,
    overrides: Overrides = None,
    sampler: Annotated[str | None, typer.Option(help="Sampler of the counted sample: ddim, ddpm or dpm++.")] = None,
    steps: Annotated[int | None, typer.Option(help="Number of denoising steps of that sample.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale of that sample; 1 for none.")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare with the counts of fvcore and torch, built on meta.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show an entry's levels with their parameters, MACs and FLOPs; nothing is built without --verify."""
    from zoo.terminal.console import console, print_json
    from zoo.terminal.tables import print_table

    options = {"sampler": sampler, "num_inference_steps": steps, "guidance_scale": guidance}
    set_options = {name: value for name, value in options.items() if value is not None}
    read_settings(SamplerSpec, **set_options)
    found = read_entry(entry, overrides)
    card = found.card(**set_options)
    counts: tuple[Counts, ...] = ()
    if verify:
        from registry.costs.counters import verify as count

        counts = count(found.architecture)
    if as_json:
        print_json(card.as_dict() | ({"verified": [asdict(each) for each in counts]} if verify else {}))
    else:
        console().print(card)
        if verify:
            print()
            rows = [
                {"counted by": each.source, "parameters": f"{each.parameters:,}", "MACs": f"{each.macs:,}"}
                for each in counts
            ]
            print_table(rows, console=console())
    if len({(each.parameters, each.macs) for each in counts}) > 1:
        raise ValueError("the counts differ: the cost rule of a block does not match its module")
