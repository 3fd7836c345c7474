"""How long processes wait for each other, by environment variables."""

from __future__ import annotations

import os

from builders.training.errors import TrainingError

__all__ = ["JOIN", "WAIT", "patience"]

#: Variables: for the start, and for every exchange of a run.
JOIN, WAIT = "ZOO_JOIN_SECONDS", "ZOO_WAIT_SECONDS"
#: Seconds by default. In a run the others wait while the main process measures samples and writes files.
_USUAL = {JOIN: 600.0, WAIT: 14_400.0}


def patience(variable: str) -> float:
    """Return the longest wait for other processes, in seconds.

    Args:
        variable: ``JOIN`` or ``WAIT``.

    Raises:
        TrainingError: The variable is set to something else than a number of seconds up to a day.
    """
    text = os.environ.get(variable, "")
    try:
        seconds = float(text) if text else _USUAL[variable]
    except ValueError:
        seconds = -1
    if not 0 < seconds <= 86_400:
        raise TrainingError(f"{variable} must be a number of seconds up to 86400, not {text!r}")
    return seconds
