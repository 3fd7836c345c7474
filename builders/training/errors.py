"""Errors and warnings of training."""

from __future__ import annotations

import contextlib
import warnings


class TrainingError(ValueError):
    """Training cannot start or continue. The message says why and what to do."""


class ProcessLost(RuntimeError):
    """A process has failed or does not answer, so that the others cannot continue. The message says which and why."""


class Interrupted(Exception):
    """Training was asked to stop. Its state has been saved."""


class TrainingWarning(UserWarning):
    """A picture, a log or a report failed. Training continues."""


class NoValidationDataWarning(UserWarning):
    """The data has no validation split."""


class OldStateWarning(UserWarning):
    """The run that is resumed was started by an earlier version."""


class OtherClassesWarning(UserWarning):
    """Initial weights were trained with other classes, or with classes in another order."""


class OtherProcessWarning(UserWarning):
    """Initial weights were trained with another diffusion process."""


def warn(text: str) -> None:
    """Warn that something failed and that training continues, also without a terminal to show it."""
    with contextlib.suppress(OSError):
        warnings.warn(f"{text}; training continues", TrainingWarning, stacklevel=3)
