"""``zoo train``: run a recipe, or resume an interrupted run."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from specs.addresses import without_secrets
from zoo.api.recipes import requested_recipe
from zoo.commands.options import Device, ExperimentName, Quiet, Track
from zoo.early.folder import local_output
from zoo.exit_codes import INTERRUPTED
from zoo.terminal.completion import complete_data, complete_recipe

if TYPE_CHECKING:
    from specs.recipe import Recipe


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="Name or YAML file of a recipe; with --data, of an entry.",
            autocompletion=complete_recipe,
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="PATH=VALUE", help="Value to change: phases.p16.steps=100. Repeatable."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Dataset or folder of shards to train an entry on, level by level.", autocompletion=complete_data
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Total steps over all levels, with --data.")] = None,
    classes: Annotated[
        str | None,
        typer.Option(metavar="auto|NUMBER", help="Number of classes in place of the entry's; auto: those of the data."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", callback=local_output, help="Folder of the run, to start or resume. Default: runs/NAME."
        ),
    ] = None,
    device: Device = None,
    quiet: Quiet = False,
    track: Track = True,
    experiment: ExperimentName = None,
    memory_check: Annotated[
        bool, typer.Option(help="Refuse a training that the memory of the device cannot hold.")
    ] = True,
) -> int:
    """Train a recipe, or an entry on --data, level by level. Ctrl-C saves; run the same command to resume."""
    from zoo.api.train import is_main

    loaded, graph = requested_recipe(recipe, overrides or (), data=data, steps=steps, classes=classes)
    folder = output or Path("runs") / loaded.name
    options = {"device": device, "quiet": quiet, "track": track, "experiment": experiment}
    weights = run_recipe(loaded, folder, graph=graph, memory_check=memory_check, **options)
    if weights is None:
        return INTERRUPTED
    if not quiet and is_main():
        prompt = ' --prompt "..."' if graph.text is not None else ""
        samples = "samples" if graph.is_video else "samples.png"
        print(f"trained weights: {weights}\ntry: zoo sample {weights}{prompt} -o {samples}")
    return 0


def run_recipe(recipe: Recipe, folder: Path, **options: Any) -> Path | None:
    """Train with the usual observers; return the weights, or None if interrupted, after saying how to resume.

    Args:
        recipe: Recipe to train.
        folder: Folder of the run.
        options: Arguments of :func:`zoo.api.train.run`.
    """
    from builders.training.errors import Interrupted
    from zoo.api.train import is_main, run

    try:
        return run(recipe, folder, **options)
    except Interrupted:
        if is_main():
            again = without_secrets(shlex.join(["zoo", *sys.argv[1:]]))
            print(f"\ninterrupted; everything is saved in {folder}. To resume: {again}", file=sys.stderr)
        return None
