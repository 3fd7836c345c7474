"""Errors of devices, and of processes that lose another one."""

from __future__ import annotations

from pathlib import Path

import torch

from builders.training.errors import ProcessLost, TrainingError
from builders.training.starting.patience import WAIT, patience

__all__ = ["clear_error", "first_line", "lost_process"]

#: Parts of the messages of torch's backends, in lower case.
_WORDS = ("gloo", "nccl", "connection closed by peer", "connection reset by peer", "broken pipe")
_LATE = ("timed out", "timeout")
_SMALLER = "use a smaller batch for the phase, with another --output, or train with more processes"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def lost_process(error: BaseException, part: tuple[int, int]) -> ProcessLost | None:
    """Return an error with advice if an error says that another process has ended, hangs or cannot be reached.

    Args:
        error: An error of a collective operation.
        part: Index of this process, and number of processes.
    """
    if isinstance(error, ProcessLost):
        return error
    text = first_line(error)
    known = isinstance(error, torch.distributed.DistError) if torch.distributed.is_available() else False
    if part[1] == 1 or not (known or any(word in text.lower() for word in _WORDS)):
        return None
    if any(word in text.lower() for word in _LATE):
        return ProcessLost(
            f"rank {part[0]} waited {patience(WAIT):.0f} s in vain for another of the {part[1]} processes ({text}): it "
            f"hangs or cannot be reached. See its output; to wait longer, set {WAIT}"
        )
    return ProcessLost(
        f"rank {part[0]} lost another of the {part[1]} processes ({text}): it has failed, was killed or cannot be "
        "reached. See its output"
    )


def clear_error(error: RuntimeError | MemoryError, part: tuple[int, int], folder: Path) -> TrainingError | None:
    """Return an error with advice for torch's errors of lost memory, devices, workers and processes; None for others.

    Args:
        error: Error that ended a training.
        part: Index of this process, and number of processes.
        folder: Folder of the run.
    """
    reason, resume = first_line(error), "run the same command again to resume from the last checkpoint"
    if isinstance(error, MemoryError):
        return TrainingError(f"out of memory; {_SMALLER}")
    if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in reason:
        return TrainingError(f"out of memory ({reason}); {_SMALLER}")
    if "DataLoader worker" in reason:
        return TrainingError(
            f"a data-loading worker died ({reason}), often because the system ran out of memory. Use fewer workers "
            f"(--set workers=N); {resume}"
        )
    lost = lost_process(error, part)
    if lost is not None:
        return TrainingError(f"{lost}; {resume} in {folder}")
    if _of_device(error, reason):
        return TrainingError(f"the device of rank {part[0]} failed ({reason}); {resume} in {folder}")
    return None


def _of_device(error: BaseException, reason: str) -> bool:
    """Return whether an error is of a GPU or its driver."""
    kind = getattr(torch, "AcceleratorError", None)  # torch 2.8 or newer
    return (kind is not None and isinstance(error, kind)) or reason.startswith(("CUDA error", "CUDA driver error"))
