"""``zoo demo``: train mdm-nano on the emoji for about three minutes, sample every level, log it all to MLflow."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from zoo.commands.options import ExperimentName, Quiet, Track
from zoo.commands.sample import sample
from zoo.commands.train import run_recipe
from zoo.early.folder import local_output
from zoo.exit_codes import INTERRUPTED

RECIPE = "nano-progressive"


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", callback=local_output, help="Folder of the run, to start or resume.")
    ] = (Path("runs/demo")),
    quiet: Quiet = False,
    track: Track = True,
    experiment: ExperimentName = None,
) -> int:
    """Train mdm-nano on emoji for about three minutes, draw samples of every level, log it all."""
    from specs.recipe import load_recipe_and_graph

    recipe, graph = load_recipe_and_graph(RECIPE)
    if not quiet:
        phases = ", then ".join(f"{phase.train[1:]} pixels ({phase.steps} steps)" for phase in recipe.phases.values())
        print(f"Training {recipe.entry} on {recipe.data_name}: {phases}.", flush=True)
        print("Ctrl-C saves; run the same command to resume.", flush=True)
    started = time.time()
    weights = run_recipe(recipe, output, graph=graph, quiet=quiet, track=track, experiment=experiment, more=True)
    if weights is None:
        return INTERRUPTED
    seconds = time.time() - started
    grid = sample(str(weights), sampler="dpm++", steps=20, guidance=3.0, output=output / "samples.png", quiet=quiet)
    tracked = _log_to_run(output, grid) if track else None
    print(_summary(output, weights, grid, tracked, seconds))
    return 0


def _log_to_run(folder: Path, picture: Path) -> str | None:
    """Log the picture to the run in MLflow; return the run, its experiment and store, or None if that failed."""
    from registry.tracking.store import connect, explained, shown_uri, tracking_uri
    from registry.tracking.stores.artifact_places import check_artifacts

    try:
        uri, identity = tracking_uri(), str(json.loads((folder / "mlflow.json").read_text("utf-8"))["run_id"])
        client = connect(uri)
        run = client.get_run(identity)
        check_artifacts(client, run)
        client.log_artifact(identity, str(picture), "samples")
        experiment = client.get_experiment(run.info.experiment_id).name
        return f"run {identity} of experiment {experiment} in {shown_uri(uri)}"
    except Exception as error:  # the picture is on disk in any case
        print(f"warning: the picture could not be logged to MLflow ({explained(error)})", file=sys.stderr)
        return None


def _summary(folder: Path, weights: Path, picture: Path, run: str | None, seconds: float) -> str:
    lines = [
        "",
        f"Done in {seconds:.0f} s.",
        f"  samples   {picture}   every level, and the nearest training image",
        f"  grids     {folder / 'grids'}   samples at the end of each phase: the smallest level alone, then all levels",
        f"  weights   {weights}",
        f"  log       {folder / 'log.jsonl'}",
    ]
    if run is not None:
        lines.append(f"  MLflow    {run}")
    lines += [
        "",
        "What to type next (after: source .venv/bin/activate):",
        f"  zoo sample {weights} --class flags --count 8 -o flags.png",
        "  zoo sample mdm-nano -o long.png          weights of three hours of training, shipped with the package",
        "  zoo show mdm-s1024                       a 1024-pixel model by level",
        "  zoo train nano-progressive --set phases.p16.steps=2000 --output runs/longer",
    ]
    if run is not None:
        lines.append(
            "  mlflow ui --workers 1                    losses by level and the grids, on http://localhost:5000"
        )
    return "\n".join(lines)
