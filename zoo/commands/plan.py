"""``zoo plan``: memory, FLOPs, time and cost of a training, before it is started."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.commands.options import Json
from zoo.early.folder import local_output
from zoo.exit_codes import USER_ERROR
from zoo.terminal.completion import complete_accelerator, complete_data, complete_recipe

if TYPE_CHECKING:
    from registry.costs.planning import Plan


def plan(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="Name or YAML file of a recipe; with --data, of an entry.",
            autocompletion=complete_recipe,
        ),
    ],
    accelerator: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Accelerator, such as h100, or its YAML file. Default: the GPU at hand, or this machine.",
            autocompletion=complete_accelerator,
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="Number of accelerators.")] = 1,
    efficiency: Annotated[
        float, typer.Option(help="Share of the peak rate that a step reaches, from 0 to 1 (model FLOPs utilisation).")
    ] = 0.4,
    price: Annotated[float | None, typer.Option(min=0, help="Price of an hour of one accelerator.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="PATH=VALUE", help="Value to change: phases.p16.batch=100. Repeatable."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Dataset to train an entry on, level by level.", autocompletion=complete_data)
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Total steps over all levels, with --data.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write the recipe with the changes that make it fit.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", callback=local_output, help="File that --apply writes. Default: NAME-ACCELERATOR.yaml."
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Plan a training: memory of every phase per device, FLOPs, time and cost; nothing is built."""
    from zoo.api.plan import planned
    from zoo.terminal.console import print_json

    if output is not None and not apply:
        raise ValueError("--output is the file that --apply writes; add --apply")
    if not 0 < efficiency <= 1:
        raise ValueError(f"--efficiency {efficiency:g}: must be more than 0 and at most 1")
    found = planned(
        recipe, data, accelerator=accelerator, count=count, efficiency=efficiency, price=price, steps=steps,
        classes=None, overrides=overrides or (),
    )  # fmt: skip
    if as_json:
        print_json(found.as_dict())
    else:
        _print(found)
    if apply and found.changes is not None:
        return _apply(found, output, quiet=as_json)
    if found.fits:
        return 0
    print(_refusal(found), file=sys.stderr)
    return USER_ERROR


def _print(found: Plan) -> None:
    from registry.costs.plan_table import plan_rows, plan_summary, plan_title
    from zoo.terminal.console import console
    from zoo.terminal.tables import print_table

    print(plan_title(found))
    print_table(plan_rows(found), console=console())
    for line in plan_summary(found):
        print(line)


def _refusal(found: Plan) -> str:
    """Return the message for a training that does not fit."""
    from registry.costs.units import short_bytes
    from specs.printable import printable

    phase = next(each for each in found.phases if each.fits is False)
    size, peak = short_bytes(found.device.memory or 0), short_bytes(phase.memory.peak)
    start = (
        f"error: {found.recipe.name}, phase {printable(phase.name)}: training takes {peak} on each device, but "
        f"{found.device.name} has {size}"
    )
    if not found.changes:
        return f"{start}. No number of rows per pass, checkpointing, precision or sharding makes it fit"
    return f"{start}. It fits with {' '.join(found.changes)}; to write this recipe, add --apply"


def _apply(found: Plan, output: Path | None, *, quiet: bool) -> int:
    """Write the recipe that fits, and say which changes it has."""
    from zoo.api.recipe_file import write_recipe

    stream = sys.stderr if quiet else sys.stdout
    if not found.changes and output is None:
        print("the recipe fits as it is; nothing was written", file=stream)
        return 0
    kind = "-".join(found.device.name.split())
    path = output or Path(f"{found.recipe.name}-{kind}.yaml")
    if output is None and path.exists():
        raise ValueError(f"{path} exists; name another file, or the same one to replace it: -o {path}")
    write_recipe(found.fitted, path, f"{found.recipe.name} on {found.count} x {found.device.name}, by zoo plan")
    for change in found.changes or ():
        print(f"changed: {change.removeprefix('--set ')}", file=stream)
    print(f"wrote {path}", file=stream)
    train = f"zoo train {shlex.quote(str(path))}"
    print(f"train with: {train if found.count == 1 else _launch(found, path)}", file=stream)
    return 0


def _launch(found: Plan, path: Path) -> str:
    kind = "--multi_gpu " if found.device.gpu else ""
    return f"accelerate launch {kind}--num_processes {found.count} -m zoo train {shlex.quote(str(path))}"
