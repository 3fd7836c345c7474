"""Measures of a run of a study in MLflow, added to the run of its training."""

from __future__ import annotations

import time
from pathlib import Path

from registry.study_report.dashboard import MEASURE
from registry.study_runs.results import RunResult
from registry.tracking.resend import send_spool
from registry.tracking.spool import Spool
from registry.tracking.valid_names import valid_key

__all__ = ["send_measures"]


def send_measures(result: RunResult, folder: Path) -> str | None:
    """Log the measures of a run as ``study/NAME`` to the MLflow run of its training.

    Args:
        result: Result of the run.
        folder: Folder of the run. If its training was not tracked, nothing is logged.

    Returns:
        Why not all of it could be sent, and what to do; None if it was.

    Raises:
        TrackingError: Another process sends the records of the run.
        OSError: The records cannot be written.
    """
    spool = Spool(folder)
    if not result.measures or not spool.path.is_file():
        return None
    values = {valid_key(MEASURE + name): value for name, value in result.measures.items()}
    step = sum(result.steps.values())
    spool.append([{"kind": "metrics", "step": step, "time": int(time.time() * 1000), "values": values}])
    spool.close()
    sent = send_spool(folder)
    if sent.complete:
        return None
    return f"MLflow does not have the measures of {result.key.name} ({sent.failure}); run 'zoo track --send {folder}'"
