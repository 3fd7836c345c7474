"""``zoo study``: train, measure and track several entries, or the arms of a study, at one budget."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from registry.evaluation.features import check_features
from zoo.commands.compare import compare
from zoo.commands.options import Device, ExperimentName, Json, Quiet, Track
from zoo.commands.track import track_entries
from zoo.commands.train import run_recipe
from zoo.early.data import check_data
from zoo.early.folder import check_folder, local_output
from zoo.exit_codes import INTERRUPTED
from zoo.terminal.completion import complete_study

if TYPE_CHECKING:
    from specs.graph import EntryGraph
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
        Path | None,
        typer.Option("--output", "-o", callback=local_output, help="Folder of the runs. Default: runs/NAME."),
    ] = None,
    device: Device = None,
    quiet: Quiet = False,
    track: Track = True,
    experiment: ExperimentName = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print runs, FLOPs, time on this machine and power; train nothing.")
    ] = False,
    register: Annotated[
        bool, typer.Option("--register", help="Write the registration of the study beside its file; train nothing.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Write the report of the results so far beside them; train nothing.")
    ] = False,
    exploratory: Annotated[
        bool, typer.Option("--exploratory", help="Run a study that differs from its registration, or has none.")
    ] = False,
    results: Annotated[
        Path | None,
        typer.Option(callback=local_output, help="Folder of the results. Default: results/studies/NAME."),
    ] = None,
    processes: Annotated[
        int, typer.Option("--processes", min=1, max=1024, help="Number of processes that share the runs.")
    ] = 1,
    again: Annotated[
        str | None,
        typer.Option("--again", metavar="RUN", help="Run to do again and compare with its result, such as flat-s0."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Train entries or arms of a study with the same budget, measure and track them. The same command resumes."""
    from specs.library import find_file
    from specs.study import has_arms
    from specs.syntax.yaml_tree import parse

    modes = {
        "--plan": plan,
        "--register": register,
        "--report": report,
        "--exploratory": exploratory,
        "--results": results is not None,
    }
    modes |= {"--processes": processes > 1, "--again": again is not None, "--json": as_json}
    if has_arms(parse(find_file("study", name))):
        from zoo.commands.studying.command import study_of_arms
        from zoo.commands.studying.run import StudyOptions

        options = StudyOptions(output, results, device, quiet, track, experiment, exploratory)
        return study_of_arms(
            name,
            overrides or (),
            options,
            plan=plan,
            register=register,
            report=report,
            as_json=as_json,
            processes=processes,
            again=again,
        )
    given = [option for option, there in modes.items() if there]
    if given:
        raise ValueError(f"{name} compares entries; {given[0]} is for studies of arms")
    return _study_of_entries(name, overrides or (), output, device, quiet, track, experiment)


def _study_of_entries(
    name: str,
    overrides: Sequence[str],
    output: Path | None,
    device: str | None,
    quiet: bool,
    track: bool,
    experiment: str | None,
) -> int:
    from registry.catalogue import search_path
    from registry.studies import check_study, study_recipe
    from specs.library import is_path
    from specs.study import load_study_and_graphs

    loaded, graphs = load_study_and_graphs(name, overrides, search=search_path())
    folder = output or Path("runs") / loaded.name
    check_folder(folder)
    check_data(loaded.data)
    check_features(loaded.evaluation.features)
    check_study(loaded, graphs)
    paths = [what if is_path(what) else None for what in loaded.entries]
    recipes = [study_recipe(loaded, graph, path) for graph, path in zip(graphs, paths, strict=True)]
    for number, (graph, recipe) in enumerate(zip(graphs, recipes, strict=True), 1):
        if not quiet:
            print(f"{graph.name} ({number} of {len(graphs)})", file=sys.stderr)
        run = folder / graph.name
        options = {"device": device, "quiet": quiet, "track": track, "experiment": experiment}
        if run_recipe(recipe, run, graph=graph, advise=False, more=True, **options) is None:
            return INTERRUPTED
        _measure(loaded, graph, run, device, quiet)
    if track:
        track_entries(loaded.entries, quiet=quiet, experiment=experiment)
    if not quiet:
        compare(list(loaded.entries), runs=folder.parent)
        words = shlex.join(loaded.entries)
        print(f"to see them side by side: zoo dashboard {words}\nas a page: zoo compare {words} --output report.html")
    return 0


def _measure(study: Study, graph: EntryGraph, folder: Path, device: str | None, quiet: bool) -> None:
    """Measure the trained weights, unless there is such a measurement already."""
    from builders.checkpoints.shipped import file_facts
    from registry.evaluation.evaluate import fitted_spec
    from registry.evaluation.measure import measure
    from registry.evaluation.results import find
    from registry.weights import find_weights
    from zoo.device import pick_device
    from zoo.terminal.progress import phase_bars

    facts = file_facts(find_weights(str(folder)))
    spec, _ = fitted_spec(study.evaluation, graph, facts)
    if find(graph.name, facts.get("content", "")[:16], spec, label=graph.labels[0]) is None:
        with phase_bars(quiet) as progress:
            measure(str(folder), study.evaluation, reference=study.data, device=pick_device(device), progress=progress)
