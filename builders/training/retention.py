"""Which checkpoints of a run are kept beside the newest: the last ones, the best, and one in so many steps."""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from builders.files import replacing
from specs.schemas.recipe import CheckpointSpec

__all__ = ["FOLDER", "best_weights", "keep_best", "keep_state", "states"]

FOLDER = "checkpoints"
_STATE = re.compile(r"state-(\d+)\.safetensors")
_BEST = re.compile(r"best-(?P<phase>.+)-(?P<step>\d+)-(?P<loss>\d\.\d+e[+-]\d+)\.safetensors")


def states(folder: Path) -> list[Path]:
    """The states that are kept beside the newest, oldest first."""
    return sorted(path for path in (folder / FOLDER).glob("state-*.safetensors") if _STATE.fullmatch(path.name))


def keep_state(folder: Path, path: Path, step: int, policy: CheckpointSpec) -> None:
    """Keep the state that was just written as the policy says, and drop those that it lets go.

    The copy is another name of the same file where the disk can do that.
    """
    for_good = bool(policy.every) and step % policy.every == 0
    if policy.last > 1 or for_good:
        (folder / FOLDER).mkdir(exist_ok=True)
        _copy(path, folder / FOLDER / f"state-{step:09d}.safetensors")
    kept = [each for each in states(folder) if not (policy.every and _step(each) % policy.every == 0)]
    # Of a run that went on from before them, later ones are of steps to be taken again.
    later = [each for each in states(folder) if _step(each) > step]
    passing = [each for each in kept if each not in later]
    for old in [*later, *passing[: max(0, len(passing) - policy.last if policy.last > 1 else len(passing))]]:
        old.unlink(missing_ok=True)


def best_weights(folder: Path, phase: str) -> list[tuple[float, Path]]:
    """The best weights of a phase with their losses, the best first."""
    found = []
    for path in (folder / FOLDER).glob("best-*.safetensors"):
        match = _BEST.fullmatch(path.name)
        if match and match["phase"] == phase:
            found.append((float(match["loss"]), path))
    return sorted(found)


def keep_best(
    folder: Path, phase: str, step: int, loss: float, count: int, write: Callable[[Path], None]
) -> Path | None:
    """Write the weights if their loss is among the ``count`` lowest of the phase; drop the one that gives way.

    Args:
        folder: of the run.
        phase: its name.
        step: over all phases.
        loss: held-out.
        count: how many are kept.
        write: writes the weights to a path.

    Returns:
        The path, or None if they are not among the best.
    """
    path = folder / FOLDER / f"best-{phase}-{step:09d}-{loss:.6e}.safetensors"
    others = [(value, other) for value, other in best_weights(folder, phase) if other != path]
    if not math.isfinite(loss) or sum(value <= loss for value, _ in others) >= count:
        return None
    write(path)
    for _, old in sorted([*others, (loss, path)])[count:]:
        old.unlink(missing_ok=True)
    return path


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
