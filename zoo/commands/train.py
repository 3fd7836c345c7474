"""``zoo train``: run a recipe, or go on with a run that was interrupted."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from specs.recipe import Recipe, load_recipe

__all__ = ["run_recipe", "train_command"]


def train_command(
    recipe: str,
    *,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    device: str | None = None,
    quiet: bool = False,
    track: bool = True,
) -> int:
    """Train a recipe; return the exit code.

    Args:
        recipe: its name, or path to a YAML file.
        overrides: changes such as ``phases.p16.steps=100``.
        out: folder of the run; by default ``runs/NAME``.
        device: such as "cuda"; by default a GPU if there is one.
        quiet: no progress bar and no message but errors.
        track: log to MLflow.

    Raises:
        LookupError, ValueError, TrainingError: one clear message each.
    """
    loaded = load_recipe(recipe, overrides)
    folder = out or Path("runs") / loaded.name
    command = _again(recipe, overrides, out)
    weights = run_recipe(loaded, folder, device=device, quiet=quiet, track=track, command=command)
    if weights is None:
        return 130
    if not quiet:
        print(f"trained weights: {weights}\ntry: zoo sample {weights} -o samples.png")
    return 0


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
    import torch

    from builders.observers import JsonLog, Observers
    from builders.progress import ProgressBar
    from builders.training import Interrupted, train

    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    members: list[Any] = [] if quiet else [ProgressBar()]
    members.append(JsonLog())
    if track:
        from registry.tracking import MLflowObserver

        members.append(MLflowObserver(warn=lambda text: print(f"warning: {text}", file=sys.stderr)))
    observer = Observers([*members, *extra])
    with _stop_signals() as stop:
        try:
            return train(recipe, folder, observer=observer, device=where, stop=stop)
        except Interrupted:
            print(f"\ninterrupted; everything is saved in {folder}. To go on: {command}", file=sys.stderr)
            return None


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


def _again(recipe: str, overrides: Sequence[str], out: Path | None) -> str:
    import shlex

    words = ["zoo", "train", recipe, *(word for change in overrides for word in ("--set", change))]
    return shlex.join(words + (["--out", str(out)] if out else []))
