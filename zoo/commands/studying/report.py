"""The report of a study of arms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from specs.arms import LoadedArmStudy

__all__ = ["write_study_report"]


def write_study_report(loaded: LoadedArmStudy, results: Path, needed: bool = True) -> Path | None:
    """Write the report of a study beside its results; return the page, or None if nothing was written.

    Args:
        loaded: The study.
        results: Folder of its results.
        needed: Whether it is an error that no run has finished.

    Raises:
        ValueError: No run has finished, and the report is needed; or a file in the folder is not a result.
        OSError: A file cannot be written.
    """
    from registry.study_report.report import write_report
    from registry.study_runs.results import read_results

    found = read_results(results)
    if not needed and not any(each.searched is None and each.status == "finished" for each in found):
        return None
    return write_report(loaded, found, results)
