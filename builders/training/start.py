"""Progressive training: each phase trains a level with all levels inside it, starting from the phase before.

All random numbers depend on the recipe's seed, the phase and the step alone, so a resumed run gives the same weights as
an uninterrupted one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from builders.data.open import open_dataset
from builders.text.encoder import TextEncoder
from builders.training.checks import check_rows, classes_as_trained
from builders.training.distributed import Processes
from builders.training.engine.compiled import as_possible, torch_settings
from builders.training.engine.precision import run_precision
from builders.training.errors import Interrupted, TrainingError, warn
from builders.training.loop import TrainingLoop
from builders.training.observers import Observer, Observers
from builders.training.reading.checks import check_clips
from builders.training.reading.sources import Sources
from builders.training.run_folder import RunFolder
from builders.training.settings import phase_settings
from builders.training.starting.changes import rounding_changes
from builders.training.starting.entry import check_entry
from builders.training.starting.lost import clear_error
from builders.training.state import TrainingState
from specs.graph import EntryGraph
from specs.recipe import recipe_graph
from specs.schemas.recipe import Recipe

__all__ = ["TrainingError", "train"]


def train(
    recipe: Recipe,
    folder: str | Path,
    *,
    graph: EntryGraph | None = None,
    observer: Observer | None = None,
    device: torch.device | str = "cpu",
    stop: Callable[[], bool] = lambda: False,
) -> Path:
    """Train a recipe, or resume the run in ``folder``.

    Under ``accelerate launch`` or ``torchrun`` every process calls this. The main process writes the files and calls
    the observer.

    Args:
        recipe: Recipe to train.
        folder: Folder of the run. Training writes ``state.safetensors``, ``ema.safetensors`` (the weights for ``zoo
            sample``), ``recipe.json``, ``grids/`` and ``checkpoints/`` to it.
        graph: Graph of the recipe's entry. Default: it is loaded.
        observer: Observer of the run. Default: none.
        device: Device to train on.
        stop: Function that is called before every step. If it returns True, the step is completed, the state is
            saved and training ends.

    Returns:
        Path of the trained weights.

    Raises:
        TrainingError: Recipe, entry and data do not fit, values were not finite, or there is not enough memory.
        CheckpointError: The folder holds another run or one of other data, or cannot be written.
        Interrupted: ``stop`` returned True.
    """
    graph = graph or recipe_graph(recipe)
    dataset = open_dataset(recipe.data)
    images = None if recipe.images is None else open_dataset(recipe.images)
    phases = [phase_settings(recipe, graph, name) for name in recipe.phases]
    check_clips(phases, Sources(dataset), recipe.data_name)
    check_entry(graph, len(dataset.classes), recipe.data_name)
    unused = any(phase.labels_with_loss != phase.graph.labels for phase in phases)
    sharded, where = any(phase.memory.shard for phase in phases), Path(folder)
    precision = run_precision(recipe, graph, where / "state.safetensors", torch.device(device))
    processes = Processes(device, precision, unused=unused, sharded=sharded)
    observer = Observers([observer] if observer is not None and observer.on_processes(processes) else [])
    # Each step seeds the global generator, which belongs to the caller.
    generators = torch.random.fork_rng(devices=[processes.device] if processes.device.type == "cuda" else [])
    part = processes.index, processes.count
    with _clear_errors(part, where):
        phases = as_possible(phases, processes)
    fast = torch_settings(processes.device, compiling=phases[0].compile)
    running = RunFolder(where, recipe, graph, main=processes.main, part=part)
    with running as run, generators, fast, _clear_errors(part, where):
        check_rows(phases, processes.count)
        processes.wait()
        state = processes.agree(run.read_state)
        dataset = classes_as_trained(dataset, state)
        if state is not None and processes.main:
            _warn_of_rounding(state, recipe, where)
        reduced = state is None or state.progress.reduced
        sources = Sources(dataset, images, recipe.seed, recipe.crop, reduced=reduced)
        run.classes = dataset.classes if graph.classes is not None else ()
        encoder = _open_encoder(recipe, graph, processes.device)
        loop = TrainingLoop(recipe, graph, phases, sources, encoder, run, observer, processes, stop)
        loop.prepare(state)
        status = "failed"
        try:
            loop.run(state)
            status = "finished"
        except (Interrupted, KeyboardInterrupt):
            status = "interrupted"
            raise
        finally:
            observer.on_end(status)
        return run.weights


def _warn_of_rounding(state: TrainingState, recipe: Recipe, folder: Path) -> None:
    """Warn of changed settings that are no part of a recipe's identity and change results by rounding."""
    finished = state.progress.finished and state.progress.phase == [*recipe.phases][-1]
    changes = "" if finished else rounding_changes(state.facts.get("recipe", ""), recipe)
    if changes:
        warn(f"{folder}: resumed with {changes}; its results are those of an uninterrupted run up to rounding only")


@contextlib.contextmanager
def _clear_errors(part: tuple[int, int], folder: Path) -> Iterator[None]:
    """Turn torch's errors of lost memory, devices, workers and processes into a TrainingError with advice.

    Args:
        part: Index of this process, and number of processes.
        folder: Folder of the run.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        clear = clear_error(error, part, folder)
        if clear is None:
            raise
        raise clear from None


def _open_encoder(recipe: Recipe, entry: EntryGraph, device: torch.device) -> TextEncoder | None:
    """Open the recipe's text encoder, if the entry reads text."""
    if entry.text is None:
        return None
    from builders.text.open import open_text_encoder

    return open_text_encoder(recipe.text_encoder, entry.text, device)
