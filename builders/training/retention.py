"""Checkpoint retention: which states and weights of a run are retained besides the newest state."""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from builders.checkpoints.shipped import file_facts
from builders.checkpoints.tensor_file import CheckpointError
from builders.files import replacing
from specs.schemas.recipe import CheckpointSpec

__all__ = ["FOLDER", "best_weights", "keep_best", "keep_state", "retain_state", "states"]

FOLDER = "checkpoints"
_STATE = re.compile(r"state-(\d+)\.safetensors")
_BEST = re.compile(r"best-(?P<phase>.+)-(?P<step>\d+)-(?P<loss>\d\.\d+e[+-]\d+)\.safetensors")


def states(folder: Path) -> list[Path]:
    """Return the states in a run's ``checkpoints/``, oldest first."""
    return sorted(path for path in (folder / FOLDER).glob("state-*.safetensors") if _STATE.fullmatch(path.name))


def keep_state(folder: Path, path: Path, step: int, policy: CheckpointSpec) -> None:
    """Keep the state that was just written if the policy says so, and delete states that it no longer keeps.

    Args:
        folder: Folder of the run.
        path: State that was just written. The retained file is a hard link to it where the file system has links.
        step: Steps of all phases so far.
        policy: Checkpoint retention of the recipe.
    """
    retain_state(folder, path, step, policy)
    saved = states(folder)
    # A run that was resumed from an earlier state takes the steps after it again.
    stale = [each for each in saved if _step(each) > step]
    rolling = [each for each in saved if _step(each) <= step and not _is_permanent(_step(each), policy)]
    newest = rolling[-policy.last :] if policy.last > 1 else []
    for old in [*stale, *(each for each in rolling if each not in newest)]:
        old.unlink(missing_ok=True)


def retain_state(folder: Path, path: Path, step: int, policy: CheckpointSpec) -> None:
    """Keep a state under the name of its step if the policy says so; the arguments are those of :func:`keep_state`."""
    kept = folder / FOLDER / f"state-{step:09d}.safetensors"
    if (policy.last > 1 or _is_permanent(step, policy)) and not (kept.is_file() and kept.samefile(path)):
        _copy(path, kept)


def _is_permanent(step: int, policy: CheckpointSpec) -> bool:
    return bool(policy.every) and step % policy.every == 0


def best_weights(folder: Path, phase: str) -> list[tuple[float, Path]]:
    """Return the best weights of a phase with their validation losses, lowest loss first."""
    found = []
    for path in (folder / FOLDER).glob("best-*.safetensors"):
        match = _BEST.fullmatch(path.name)
        if match and match["phase"] == phase:
            found.append((float(match["loss"]), path))
    return sorted(found)


def keep_best(
    folder: Path, phase: str, step: int, loss: float, count: int, write: Callable[[Path], None], protocol: str = ""
) -> Path | None:
    """Write the weights if their loss is among the ``count`` lowest of the phase, and delete the ones they replace.

    Weights whose loss was measured in another way are neither compared nor deleted.

    Args:
        folder: Folder of the run.
        phase: Name of the phase, as :func:`builders.file_names.file_name` returns it.
        step: Steps of all phases so far.
        loss: Validation loss.
        count: Number of weights to keep.
        write: Function that writes the weights to a path, with ``protocol`` as their fact ``validation``.
        protocol: How the loss was measured; empty for that of versions before 0.2.

    Returns:
        Path of the weights, or None if they are not among the best.
    """
    path = folder / FOLDER / f"best-{phase}-{step:09d}-{loss:.6e}.safetensors"
    found = [(value, other) for value, other in best_weights(folder, phase) if other != path]
    others = [(value, other) for value, other in found if _protocol(other) == protocol]
    if not math.isfinite(loss) or sum(value <= loss for value, _ in others) >= count:
        return None
    write(path)
    for _, old in sorted([*others, (loss, path)])[count:]:
        old.unlink(missing_ok=True)
    return path


def _protocol(path: Path) -> str | None:
    """Return how the loss of saved weights was measured; None for a file that cannot be read."""
    try:
        return file_facts(path).get("validation", "")
    except (CheckpointError, OSError):
        return None


def _step(path: Path) -> int:
    match = _STATE.fullmatch(path.name)
    return int(match[1]) if match else -1


def _copy(source: Path, target: Path) -> None:
    """Link a file under another name, or copy it where the file system has no links."""
    with replacing(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
