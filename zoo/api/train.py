"""``zoo.train``, and the assembly of a training that the command line shares with it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.api.recipes import requested_recipe
from zoo.api.words import python_names
from zoo.early.data import check_classes, check_data
from zoo.early.folder import check_folder
from zoo.early.weights import check_sources
from zoo.signals import stop_signals
from zoo.threads import spin_briefly

if TYPE_CHECKING:
    import torch

    from builders.training.observers import Observer
    from specs.graph import EntryGraph
    from specs.recipe import Recipe

__all__ = ["is_main", "run", "train"]


def train(
    recipe: str | os.PathLike[str] | Recipe,
    data: str | os.PathLike[str] | None = None,
    *,
    steps: int | None = None,
    classes: int | str | None = None,
    overrides: Sequence[str] = (),
    output: str | os.PathLike[str] | None = None,
    device: torch.device | str | None = None,
    quiet: bool = False,
    track: bool = True,
    experiment: str | None = None,
    memory_check: bool = True,
    observers: Sequence[Observer] = (),
) -> Path:
    """Train a recipe, or an entry on data, as ``zoo train``. Call it again with the same arguments to resume.

    Args:
        recipe: Name or path of a recipe, or a :class:`specs.recipe.Recipe`; with ``data``, name or path of an entry.
        data: Dataset or folder of shards to train an entry on, level by level.
        steps: Total steps over all levels, with ``data``.
        classes: Number of classes of the entry in place of its own, 0 for none; ``"auto"`` for those of the data.
        overrides: Changes such as ``phases.p16.steps=100``; not with a :class:`specs.recipe.Recipe`.
        output: Folder of the run, to start or resume. Default: ``runs/NAME``.
        device: Device. Default: a GPU if there is one, otherwise the CPU.
        quiet: Whether to show no progress.
        track: Whether to log to MLflow.
        experiment: Name of the experiment in MLflow. Default: that of MLflow's variables, or ``matryoshka-zoo``.
        memory_check: Whether to refuse a training that the memory of the device cannot hold.
        observers: Further observers of the run.

    Returns:
        Path of the trained weights, for :func:`zoo.load`, :func:`zoo.sample` and :func:`zoo.evaluate`.

    Raises:
        LookupError: There is no such recipe or entry.
        ValueError: The recipe has errors; recipe, entry and data do not fit; the folder holds another run.
        Interrupted: Ctrl-C, SIGTERM or SIGHUP. The state is saved; call it again to resume. A signal in the last step
            changes nothing, because the run is complete.
        TypeError: An argument has another type.
    """
    with python_names(steps="steps"):
        found, graph = _requested(recipe, data, steps, classes, overrides)
        folder = Path("runs") / found.name if output is None else Path(output)
        where = None if device is None else str(device)
        options = {"device": where, "quiet": quiet, "track": track, "experiment": experiment, "extra": observers}
        return run(found, folder, graph=graph, memory_check=memory_check, **options)  # type: ignore[arg-type]


def _requested(
    recipe: Any, data: Any, steps: int | None, classes: int | str | None, overrides: Sequence[str]
) -> tuple[Recipe, EntryGraph | None]:
    from specs.schemas.recipe import Recipe

    if isinstance(recipe, Recipe):
        if overrides or (data, steps, classes) != (None, None, None):
            raise ValueError("a Recipe has its own data, steps and classes; change it, or pass the name of its file")
        return recipe, None
    if not isinstance(recipe, (str, os.PathLike)):
        raise TypeError(f"a recipe is a name, a path or a Recipe, not {type(recipe).__name__}")
    if isinstance(overrides, str):
        overrides = [overrides]
    source = None if data is None else os.fspath(data)
    what = recipe if isinstance(recipe, str) else Path(recipe)
    return requested_recipe(what, overrides, data=source, steps=steps, classes=classes)


def run(
    recipe: Recipe,
    folder: Path,
    *,
    graph: EntryGraph | None = None,
    device: str | None = None,
    quiet: bool = False,
    track: bool = True,
    experiment: str | None = None,
    memory_check: bool = True,
    advise: bool = True,
    extra: Sequence[Any] = (),
    tags: Mapping[str, str] | None = None,
    more: bool = False,
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
        memory_check: Whether to refuse a training that the memory of the device cannot hold.
        advise: Whether to say how a finished run is trained longer.
        extra: Further observers.
        tags: Further tags of the run in MLflow.
        more: Whether the caller has more to do after the run, so that a signal in its last step is an interruption too.

    Returns:
        Path of the trained weights.

    Raises:
        Interrupted: Ctrl-C, SIGTERM or SIGHUP; the state is saved.
        ValueError: Data or weights do not exist, or as for :func:`builders.training.start.train`.
    """
    # Before torch is imported.
    spin_briefly()
    check_data(recipe.data)
    check_data(recipe.images)
    check_folder(folder)

    from specs.recipe import recipe_graph

    graph = graph or recipe_graph(recipe)
    check_classes(graph, recipe)
    check_sources(recipe, None if (folder / "state.safetensors").exists() else graph)

    from builders.training.engine.times import TimesObserver
    from builders.training.errors import Interrupted, TrainingError
    from builders.training.json_log import JsonLog
    from builders.training.observers import Observers
    from builders.training.sharding.launcher import launcher_shards
    from builders.training.start import train
    from zoo.device import pick_device
    from zoo.terminal.training_bar import ProgressBar

    where = str(pick_device(device))
    from registry.costs.machine import check_training, decided
    from registry.environment import hardware

    if launcher_shards():  # counted in the memory
        recipe = recipe.model_copy(update={"memory": recipe.memory.model_copy(update={"shard": True})})
    recipe = decided(recipe, graph, where)
    if memory_check:
        check_training(recipe, graph, where)
    bar = None if quiet else ProgressBar(advise=advise)
    members: list[Any] = [*([] if bar is None else [bar]), JsonLog(), TimesObserver(hardware)]
    tracker = None
    if track:
        from registry.tracking.observer import MLflowObserver

        tracker = MLflowObserver(warn=_warn, experiment=experiment, tags=tags)
    if recipe.every.distance:
        from registry.evaluation.during_training import DistanceObserver
        from registry.evaluation.evaluate import silent

        log, report = tracker.log_metrics if tracker else None, Observers([*members, *extra]).on_distance
        progress = silent if bar is None else bar.on_progress
        members.append(DistanceObserver(log, where, report=report, progress=progress))
    members += extra
    if tracker is not None:
        members.append(tracker)  # last: it logs what the others measured before it ends the run
    with _stop_signals() as stop:
        try:
            weights = train(recipe, folder, graph=graph, observer=Observers(members), device=where, stop=stop)
        except TrainingError as error:
            if more and stop():  # when it is resumed, it fails again
                raise Interrupted from error
            raise
    if track and is_main():
        _record_entry(recipe, experiment)
    if more and stop():
        raise Interrupted
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
    from specs.recipe import entry_overrides

    try:
        entry = get(recipe.entry)
        changes = entry_overrides(recipe, entry.architecture)
        entry = get(recipe.entry, changes) if changes else entry
        recorded = record_entry(connect(tracking_uri()), entry, experiment=experiment)
        if recorded.warning is not None:
            _warn(recorded.warning)
    except Exception as error:  # whatever MLflow raises
        _warn(f"the entry could not be recorded in MLflow ({explained(error)}); to try again: zoo track {recipe.entry}")


@contextlib.contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C, SIGTERM and SIGHUP finish the step and save the state; a second Ctrl-C stops at once."""
    received: list[int] = []

    def handle(number: int, frame: Any) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    previous = {}
    for number in stop_signals():
        with contextlib.suppress(ValueError):  # not in the main thread: the caller handles signals
            previous[number] = signal.signal(number, handle)
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
