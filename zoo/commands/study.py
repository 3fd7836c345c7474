"""``zoo study``: train, measure and track several entries at one budget."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.commands.compare import compare
from zoo.commands.options import Device, Quiet, Track
from zoo.commands.track import track_entries
from zoo.commands.train import run_recipe
from zoo.exit_codes import INTERRUPTED
from zoo.terminal.completion import complete_study

if TYPE_CHECKING:
    from specs.schemas.study import Study


def study(
    name: Annotated[
        str,
        typer.Argument(metavar="STUDY", help="Name of a study, or path to a YAML file.", autocompletion=complete_study),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="PATH=VALUE", help="Value to change: recipe.batch=32. Repeatable."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the runs. Default: runs/NAME.")
    ] = None,
    device: Device = None,
    quiet: Quiet = False,
    track: Track = True,
) -> int:
    """Train several entries with the same budget, measure and track them. Run the same command to resume."""
    from registry.catalogue import get
    from registry.studies import study_recipe
    from specs.study import load_study

    loaded = load_study(name, overrides or ())
    entries = [get(entry) for entry in loaded.entries]
    folder = output or Path("runs") / loaded.name
    for number, entry in enumerate(entries, 1):
        if not quiet:
            print(f"{entry.name} ({number} of {len(entries)})", file=sys.stderr)
        graph, run = entry.architecture, folder / entry.name
        recipe = study_recipe(loaded, graph)
        if run_recipe(recipe, run, graph=graph, device=device, quiet=quiet, track=track) is None:
            return INTERRUPTED
        _measure(loaded, entry.name, run, device, quiet)
    names = [entry.name for entry in entries]
    if track:
        track_entries(names, quiet=quiet)
    if not quiet:
        compare(names, runs=folder.parent)
        words = " ".join(names)
        print(f"to see them side by side: zoo dashboard {words}\nas a page: zoo compare {words} --output report.html")
    return 0


def _measure(study: Study, name: str, folder: Path, device: str | None, quiet: bool) -> None:
    """Measure the trained weights, unless there is such a measurement already."""
    from builders.checkpoints.shipped import file_facts
    from registry.evaluation.measure import measure
    from registry.evaluation.results import find
    from registry.weights import find_weights
    from zoo.device import pick_device
    from zoo.terminal.progress import phase_bars

    weights = file_facts(find_weights(str(folder))).get("content", "")[:16]
    if find(name, weights, study.evaluation) is None:
        with phase_bars(quiet) as progress:
            measure(str(folder), study.evaluation, reference=study.data, device=pick_device(device), progress=progress)
