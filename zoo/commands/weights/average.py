"""``zoo average``: weights of a run as an average of another length."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from specs.schemas.averages import check_length
from zoo.commands.options import Device
from zoo.early.folder import local_output

if TYPE_CHECKING:
    from builders.training.averaging.choice import Average

#: Lengths that are compared by default.
LENGTHS = (0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2)
#: Largest error of an average that is made without a warning.
MOST_ERROR = 0.1


def average(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run that was trained with 'averages'.")],
    length: Annotated[
        list[float] | None,
        typer.Option(
            "--length",
            "-l",
            help="Length as a part of the training. Repeatable: the one with the lowest loss is made.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", callback=local_output, help="Weights file. Default: RUN/average-LENGTH."),
    ] = None,
    device: Device = None,
) -> None:
    """Make weights of a run that are an average of another length."""
    for each in length or ():
        try:
            check_length(each)
        except ValueError as error:
            raise ValueError(f"--length: {error}") from None
    if not run.is_dir():
        raise ValueError(f"{run}: {'not a folder' if run.exists() else 'no such folder'}; give the folder of a run")

    from builders.training.averaging.choice import average_of_length

    if length and len(length) == 1:
        chosen = average_of_length(run, length[0])
    else:
        chosen = _choose(run, sorted(set(length or LENGTHS)), device)
    worst = max(chosen.errors.values())
    if worst > MOST_ERROR:
        print(
            f"warning: the averages that were saved make one of length {chosen.length:g} with an error of "
            f"{worst:.0%}; save them more often, or of other lengths ('averages' in the recipe)",
            file=sys.stderr,
        )
    path = output or run / f"average-{chosen.length:g}.safetensors"
    chosen.write(path)
    print(f"wrote {path}")


def _choose(run: Path, lengths: list[float], device: str | None) -> Average:
    """Measure averages on the validation split, print the losses, and return the one that is best at the outside."""
    from builders.training.averaging.choice import LengthChooser, average_of_length
    from zoo.device import pick_device
    from zoo.terminal.console import console
    from zoo.terminal.tables import print_table

    chooser = LengthChooser(run, pick_device(device))
    found = [(average, chooser.losses(average)) for average in (average_of_length(run, each) for each in lengths)]
    print_table(
        [
            {"length": f"{average.length:g}"}
            | {f"val_v_loss/{label}": f"{loss:.4f}" for label, loss in losses.items()}
            | {"error": f"{max(average.errors.values()):.1%}"}
            for average, losses in found
        ],
        console=console(),
    )
    return min(found, key=lambda pair: next(iter(pair[1].values())))[0]
