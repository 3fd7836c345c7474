"""Saved power function averages: one file for each time at which they were saved."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from builders.checkpoints.header import read_metadata
from builders.checkpoints.tensor_file import CheckpointError, write_tensors
from builders.checkpoints.weights import spec_metadata
from builders.versions import versions

if TYPE_CHECKING:
    from builders.training.phase import Phase

__all__ = ["FOLDER", "SavedAverages", "saved_averages", "write_averages"]

#: Name of the folder in that of a run.
FOLDER = "averages"
_NAME = re.compile(r"(\d+)\.safetensors")


@dataclass(frozen=True)
class SavedAverages:
    """A file with averages. Its tensors are called ``LENGTH/NAME``.

    Attributes:
        path: Path of the file.
        facts: Its metadata.
        lengths: Lengths of the averages.
        ages: Number of updates of each level, by label; 0 for a level that was frozen.
        starts: Steps of all phases before the averages of each level began, by label.
    """

    path: Path
    facts: Mapping[str, str]
    lengths: tuple[float, ...]
    ages: Mapping[str, int]
    starts: Mapping[str, int]


def write_averages(run: Path, phase: Phase, averages: Mapping[str, Tensor], about: Mapping[str, Any]) -> Path:
    """Write the averages of a phase, and delete those of later steps, which a run that is resumed takes again.

    Args:
        run: Folder of the run.
        phase: Phase of the averages.
        averages: Averaged weights as ``LENGTH/NAME``.
        about: Metadata of the weights, stored as JSON, or text as it is.

    Raises:
        CheckpointError: The file cannot be written.
    """
    folder, progress = run / FOLDER, phase.progress
    path = folder / f"{progress.steps_done:09d}.safetensors"
    facts = {
        **about,
        "versions": versions(),
        "lengths": list(phase.power.averages),
        "ages": phase.power.ages_after(progress.step),
        "starts": phase.power.starts,
    }
    text = {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written ({error.strerror})") from error
    write_tensors(path, averages, {"kind": "averages", **text, **spec_metadata(phase.settings.graph)})
    for later in _files(run):
        if later.name > path.name:
            later.unlink(missing_ok=True)
    return path


def _files(run: Path) -> list[Path]:
    return sorted(path for path in (run / FOLDER).glob("*.safetensors") if _NAME.fullmatch(path.name))


def saved_averages(run: Path) -> list[SavedAverages]:
    """Return the averages that a run has saved, oldest first; their tensors are not read.

    Args:
        run: Folder of the run.

    Raises:
        CheckpointError: There are none, or a file is damaged.
    """
    found = []
    for path in _files(run):
        facts = read_metadata(path)
        try:
            lengths, ages, starts = (json.loads(facts[key]) for key in ("lengths", "ages", "starts"))
            found.append(SavedAverages(path, facts, tuple(map(float, lengths)), dict(ages), dict(starts)))
        except (KeyError, ValueError, TypeError):
            raise CheckpointError(f"{path}: these are no averages of a run, or the file is damaged") from None
    if not found:
        raise CheckpointError(
            f"{run}: the run has saved no averages; train with --set averages.every=100 in another --output"
        )
    return found
