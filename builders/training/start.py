"""Progressive training: each phase trains a level with all inside it, starting from the phase before.

All that is random depends on the recipe's seed, the phase and the step alone, so a run that was interrupted goes on
exactly as if it had not been.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from builders.data.open import open_dataset
from builders.text.encoder import TextEncoder
from builders.training.data_checks import check_classes
from builders.training.distributed import Processes
from builders.training.errors import TrainingError
from builders.training.loop import Interrupted, _Training
from builders.training.observers import Observer
from builders.training.phase import rows_by_level
from builders.training.run_folder import RunFolder
from specs.graph import EntryGraph
from specs.load import load_entry
from specs.recipe import Recipe

__all__ = ["TrainingError", "train"]


def train(
    recipe: Recipe,
    folder: str | Path,
    *,
    observer: Observer | None = None,
    device: torch.device | str = "cpu",
    stop: Callable[[], bool] = lambda: False,
) -> Path:
    """Train as a recipe says, or go on with what stands in ``folder``.

    Under ``accelerate launch`` or ``torchrun`` every process calls this; the first one writes and tells the observer.

    Args:
        recipe: what to do.
        folder: of the run; written are ``state.safetensors``, ``ema.safetensors`` (what ``zoo sample`` takes),
            ``recipe.json``, ``log.jsonl``, ``grids/`` and ``checkpoints/``.
        observer: told of everything.
        device: where to train.
        stop: asked after every step; True writes the state and ends.

    Returns:
        The path of the trained weights.

    Raises:
        TrainingError: recipe, entry and data do not fit, steps were not finite, or memory does not suffice.
        CheckpointError: the folder holds another run, of other data too, or cannot be written.
        Interrupted: ``stop`` said so.
    """
    entry = load_entry(recipe.entry).graph
    dataset = open_dataset(recipe.data)
    _check(recipe, entry, dataset)
    partial = any(not recipe.loss_of(p).weight(label) for p in recipe.phases.values() for label in entry.labels)
    processes = Processes(device, recipe.precision, unused=partial)
    observer = observer if observer is not None and processes.main else Observer()
    # Steps seed the global generator, which belongs to the caller.
    generators = torch.random.fork_rng(devices=[processes.device] if processes.device.type == "cuda" else [])
    with RunFolder(Path(folder), recipe, entry, main=processes.main) as run, generators, _clear_errors():
        _check_rows(recipe, entry, processes.count)
        processes.wait()
        state = run.read_state()
        encoder = _open_encoder(recipe, entry, processes.device)
        training = _Training(recipe, entry, dataset, encoder, run, observer, processes, stop)
        training.prepare(state)
        status = "failed"
        try:
            training.run(state)
            status = "finished"
        except (Interrupted, KeyboardInterrupt):
            status = "interrupted"
            raise
        finally:
            observer.on_end(status)
        return run.weights


@contextlib.contextmanager
def _clear_errors() -> Iterator[None]:
    """What torch says when memory or a worker is gone, in words that help."""
    try:
        yield
    except MemoryError:
        raise TrainingError(f"memory does not suffice; {_SMALLER}") from None
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in reason:
            raise TrainingError(f"memory does not suffice ({reason}); {_SMALLER}") from None
        if "DataLoader worker" in reason:
            raise TrainingError(
                f"a process that reads ahead has ended ({reason}): often the system does so for want of memory. Fewer "
                "workers need less (--set workers=N); the same folder goes on from its last checkpoint"
            ) from None
        raise


_SMALLER = "give the phase a smaller batch, in another --out, or train with more processes"


def _check(recipe: Recipe, entry: EntryGraph, dataset: Any) -> None:
    for name, phase in recipe.phases.items():
        try:
            rows_by_level(phase, entry.inner(phase.train))
        except ValueError as error:
            raise TrainingError(f"recipe {recipe.name}, phase {name}: {error}") from None
    if entry.levels[0].channels != 3:
        raise TrainingError(f"{entry.name} is for images of {entry.levels[0].channels} channels; data has 3, RGB")
    check_classes(entry, len(dataset.classes), recipe.data_name)


def _check_rows(recipe: Recipe, entry: EntryGraph, processes: int) -> None:
    for name, phase in recipe.phases.items():
        fewest = min(rows_by_level(phase, entry.inner(phase.train)))
        if fewest < processes:
            raise TrainingError(
                f"phase {name} has a level with {fewest} rows, which {processes} processes cannot share; "
                "raise its batch or start fewer processes"
            )


def _open_encoder(recipe: Recipe, entry: EntryGraph, device: torch.device) -> TextEncoder | None:
    """What turns captions into the tokens that the entry reads, where this process trains; None if it reads none."""
    if entry.text is None:
        return None
    from builders.text.open import open_text_encoder

    return open_text_encoder(recipe.text_encoder, entry.text, device)
