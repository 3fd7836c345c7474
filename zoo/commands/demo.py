"""``zoo demo``: train mdm-nano on the emoji for about three minutes, sample every level, log it all to MLflow."""

from __future__ import annotations

import time
from pathlib import Path

from specs.recipe import Recipe, load_recipe
from zoo.commands.train import run_recipe

__all__ = ["demo_command"]

RECIPE = "nano-progressive"
OUT = Path("runs/demo")


def demo_command(*, out: Path = OUT, track: bool = True, quiet: bool = False) -> int:
    """Run the demo; return the exit code. Run again after an interruption, it goes on."""
    recipe = load_recipe(RECIPE)
    if not quiet:
        print(
            f"Training {recipe.entry} on {recipe.data_name}: {_phases(recipe)}.\n"
            "Ctrl-C saves; the same command goes on.",
            flush=True,
        )
    started = time.time()
    weights = run_recipe(recipe, out, command=_again(out, quiet, track), quiet=quiet, track=track)
    if weights is None:
        return 130
    seconds = time.time() - started
    path = _draw(weights, out / "samples.png", quiet)
    tracked = _add_to_run(out, path) if track else None
    print(_summary(out, weights, path, tracked, seconds))
    return 0


def _again(out: Path, quiet: bool, track: bool) -> str:
    """The command that goes on with the demo."""
    import shlex

    if (out, quiet, track) == (OUT, False, True):
        return "make demo, or zoo demo"
    return shlex.join(["zoo", "demo", "--out", str(out), *["--quiet"] * quiet, *["--no-track"] * (not track)])


def _phases(recipe: Recipe) -> str:
    """The sides that are trained, in order."""
    return ", then ".join(f"{phase.train[1:]} pixels ({phase.steps} steps)" for phase in recipe.phases.values())


def _draw(weights: Path, path: Path, quiet: bool) -> Path:
    """Two samples of each class at every level, the nearest training image beside each."""
    from builders.sampling.generation import SamplerSettings
    from zoo.commands.sample import sample_command

    settings = SamplerSettings(num_inference_steps=40, guidance_scale=3.0)
    return sample_command(str(weights), count=2, settings=settings, out=path, quiet=quiet)


def _add_to_run(folder: Path, picture: Path) -> tuple[str, str] | None:
    """Put the picture beside the run in MLflow; the run and where it is, or None if it is not there."""
    import json

    from registry.tracking.store import shown_uri

    try:
        facts = json.loads((folder / "mlflow.json").read_text())
        from mlflow.tracking import MlflowClient

        MlflowClient(tracking_uri=facts["uri"]).log_artifact(facts["run_id"], str(picture), "samples")
        return str(facts["run_id"]), shown_uri(facts["uri"])
    except Exception as error:  # the picture is on disk in any case
        print(f"warning: the picture could not be added to MLflow ({type(error).__name__})")
        return None


def _summary(folder: Path, weights: Path, picture: Path, run: tuple[str, str] | None, seconds: float) -> str:
    lines = [
        "",
        f"Done in {seconds:.0f} s.",
        f"  samples   {picture}   every level, and the nearest training image",
        f"  grids     {folder / 'grids'}   the end of each phase: the smallest level alone, then what grew around it",
        f"  weights   {weights}",
        f"  log       {folder / 'log.jsonl'}",
    ]
    page = []
    if run is not None:
        page = ["  mlflow ui --workers 1                    losses by level and the grids, on http://localhost:5000"]
        lines.append(f"  MLflow    run {run[0]} of experiment matryoshka-zoo in {run[1]}")
    return "\n".join(
        [
            *lines,
            "",
            "What to type next (after: source .venv/bin/activate):",
            f"  zoo sample {weights} --class flags --count 8 -o flags.png",
            "  zoo sample mdm-nano -o hour.png          weights of an hour's training, shipped with the package",
            "  zoo show mdm-s1024                       a 1024-pixel model by level",
            "  zoo train nano-progressive --set phases.p16.steps=2000 --out runs/longer",
            *page,
        ]
    )
