"""``zoo.train``, and the assembly of a training that the command line shares with it."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from specs.graph import EntryGraph
    from specs.recipe import Recipe

__all__ = ["is_main", "run"]


def run(
    recipe: Recipe,
    folder: Path,
    *,
    graph: EntryGraph | None = None,
    device: str | None = None,
    quiet: bool = False,
    track: bool = True,
    experiment: str | None = None,
    extra: Sequence[Any] = (),
) -> Path:
    """Train a recipe with the usual observers: terminal, log, MLflow, distances.

    Args:
        recipe: Recipe to train.
        folder: Folder of the run, to start or resume.
        graph: Graph of the recipe's entry. Default: it is loaded.
        device: Device by name. Default: a GPU if there is one.
        quiet: Whether to show no progress.
        track: Whether to log to MLflow.
        experiment: Name of the experiment in MLflow. Default: that of MLflow's variables, or ``matryoshka-zoo``.
        extra: Further observers.

    Returns:
        Path of the trained weights.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the state is saved.
        ValueError: As for :func:`builders.training.start.train`.
    """
    from builders.training.json_log import JsonLog
    from builders.training.observers import Observers
    from builders.training.start import train
    from zoo.device import pick_device
    from zoo.terminal.training_bar import ProgressBar

    where = str(pick_device(device))
    members: list[Any] = [JsonLog()] if quiet else [ProgressBar(), JsonLog()]
    tracker = None
    if track:
        from registry.tracking.observer import MLflowObserver

        tracker = MLflowObserver(warn=_warn, experiment=experiment)
    if recipe.every.distance:
        from registry.evaluation.during_training import DistanceObserver

        members.append(DistanceObserver(tracker.log_metrics if tracker else None, where))
    members += extra
    if tracker is not None:
        members.append(tracker)  # last: it logs what the others measured before it ends the run
    with _stop_signals() as stop:
        weights = train(recipe, folder, graph=graph, observer=Observers(members), device=where, stop=stop)
    if track and is_main():
        _record_entry(recipe, experiment)
    return weights


def is_main() -> bool:
    """Return whether this process prints and writes for all that train together."""
    from builders.training.distributed import is_main

    return is_main()


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def _record_entry(recipe: Recipe, experiment: str | None) -> None:
    """Record the entry's own run in MLflow, the parent of the training run; a failure is a warning."""
    from registry.catalogue import get
    from registry.tracking.entry_runs import record_entry
    from registry.tracking.store import connect, explained, tracking_uri

    try:
        recorded = record_entry(connect(tracking_uri()), get(recipe.entry), experiment=experiment)
        if recorded.warning is not None:
            _warn(recorded.warning)
    except Exception as error:  # whatever MLflow raises
        _warn(f"the entry could not be recorded in MLflow ({explained(error)}); to try again: zoo track {recipe.entry}")


@contextlib.contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C and SIGTERM finish the step and save the state; a second Ctrl-C stops at once."""
    received: list[int] = []

    def handle(number: int, frame: Any) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    previous = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(ValueError):  # not in the main thread: the caller handles signals
            previous[number] = signal.signal(number, handle)
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
