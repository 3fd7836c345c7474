"""``zoo train``: run a recipe, or go on with a run that was interrupted."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from specs.default_recipe import default_recipe
from specs.errors import UnknownName
from specs.library import list_names as list_entries
from specs.load import load_entry
from specs.recipe import Recipe, list_recipes, load_recipe

__all__ = ["run_recipe", "train_command"]


def train_command(
    recipe: str,
    *,
    overrides: Sequence[str] = (),
    data: str | None = None,
    steps: int | None = None,
    out: Path | None = None,
    device: str | None = None,
    quiet: bool = False,
    track: bool = True,
) -> int:
    """Train a recipe, or an entry on some data; return the exit code.

    Args:
        recipe: its name, or path to a YAML file; with ``data``, those of an entry instead.
        overrides: changes such as ``phases.p16.steps=100``.
        data: name of a data set, or path to one; the recipe is then made for the entry.
        steps: of such a recipe, over all phases.
        out: folder of the run; by default ``runs/NAME``.
        device: such as "cuda"; by default a GPU if there is one.
        quiet: no progress bar and no message but errors.
        track: log to MLflow.

    Raises:
        LookupError, ValueError, TrainingError: one clear message each.
    """
    loaded = _load(recipe, overrides, data, steps)
    folder = out or Path("runs") / loaded.name
    command = _again(recipe, overrides, out, data, steps, device, quiet=quiet, track=track)
    weights = run_recipe(loaded, folder, device=device, quiet=quiet, track=track, command=command)
    if weights is None:
        return 130
    if not quiet and _is_main():
        prompt = ' --prompt "..."' if load_entry(loaded.entry).graph.text is not None else ""
        print(f"trained weights: {weights}\ntry: zoo sample {weights}{prompt} -o samples.png")
    return 0


def _load(recipe: str, overrides: Sequence[str], data: str | None, steps: int | None) -> Recipe:
    if data is not None:
        if recipe in list_recipes():
            raise ValueError(f"{recipe} is a recipe, which has data of its own; change it by --set data={data}")
        return default_recipe(recipe, data, overrides, steps=steps)
    if steps is not None:
        raise ValueError("--steps is for an entry with --data; a recipe's steps change by --set phases.NAME.steps=N")
    try:
        return load_recipe(recipe, overrides)
    except UnknownName:
        if recipe in list_entries():
            raise ValueError(f"{recipe} is an entry, not a recipe; say what to train it on: --data DATASET") from None
        raise


def run_recipe(
    recipe: Recipe,
    folder: Path,
    *,
    command: str,
    device: str | None = None,
    quiet: bool = False,
    track: bool = True,
    extra: Sequence[Any] = (),
) -> Path | None:
    """Train with the usual observers; None if it was interrupted, after saying how to go on."""
    from builders.training.json_log import JsonLog
    from builders.training.loop import Interrupted
    from builders.training.observers import Observers
    from builders.training.start import train
    from zoo.device import pick_device
    from zoo.terminal.training_bar import ProgressBar

    where = str(pick_device(device))
    members: list[Any] = [] if quiet else [ProgressBar()]
    members.append(JsonLog())
    tracker = None
    if track:
        from registry.tracking.observer import MLflowObserver

        tracker = MLflowObserver(warn=_warn)
    if recipe.every.distance:
        from registry.evaluation.during_training import DistanceObserver

        members.append(DistanceObserver(tracker.log_metrics if tracker else None, where))
    # Last: what the others measure at the end of a step is logged before the run ends.
    observer = Observers([*members, *extra, *([tracker] if tracker else [])])
    with _stop_signals() as stop:
        try:
            weights = train(recipe, folder, observer=observer, device=where, stop=stop)
        except Interrupted:
            if _is_main():
                print(f"\ninterrupted; everything is saved in {folder}. To go on: {command}", file=sys.stderr)
            return None
    if track and _is_main():
        _record_entry(recipe)
    return weights


def _is_main() -> bool:
    """Whether this is the process that speaks and writes for all that train together."""
    from builders.training.distributed import is_main

    return is_main()


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def _record_entry(recipe: Recipe) -> None:
    """The entry's own run in MLflow, whose child the training is; training is done, whatever the store does."""
    from registry.catalogue import get
    from registry.tracking.entry_runs import record_entry
    from registry.tracking.store import connect, explained, tracking_uri

    try:
        record_entry(connect(tracking_uri()), get(recipe.entry))
    except Exception as error:  # whatever MLflow raises
        _warn(f"the entry could not be recorded in MLflow ({explained(error)}); later: zoo track {recipe.entry}")


@contextlib.contextmanager
def _stop_signals() -> Iterator[Any]:
    """Ctrl-C and SIGTERM let the step finish and the state be written; a second Ctrl-C ends at once."""
    asked: list[int] = []

    def handle(number: int, frame: Any) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    previous = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(ValueError):  # not in the main thread: whoever calls handles signals
            previous[number] = signal.signal(number, handle)
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _again(
    recipe: str,
    overrides: Sequence[str],
    out: Path | None,
    data: str | None,
    steps: int | None,
    device: str | None,
    *,
    quiet: bool,
    track: bool,
) -> str:
    """The command that goes on, as it was given."""
    import shlex

    words = ["zoo", "train", recipe, *(word for change in overrides for word in ("--set", change))]
    words += ["--data", str(data)] * (data is not None) + ["--steps", str(steps)] * (steps is not None)
    words += ["--out", str(out)] if out else []
    words += ["--device", device] if device else []
    return shlex.join(words + ["--quiet"] * quiet + ["--no-track"] * (not track))
