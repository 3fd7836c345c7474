"""Progress bars on stderr: how much is done, the throughput, and the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zoo.terminal.console import error_console

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["count_bar", "phase_bars"]


@contextmanager
def phase_bars(quiet: bool = False, unit: str = "") -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar per phase of some work.

    Args:
        quiet: Show nothing.
        unit: Unit of the throughput, such as "steps".

    Yields:
        A function that takes the name of the phase, how much of it is done, and how much there is in all.
    """
    progress = _make_progress(unit, quiet)

    def show(phase: str, done: int, total: int) -> None:
        progress.start()  # not earlier: an error before the first report should be the only output
        task = next((task.id for task in progress.tasks if task.description == phase), None)
        if task is None:
            task = progress.add_task(phase, total=total)
        progress.update(task, completed=done)

    try:
        yield show
    finally:
        if progress.tasks:
            progress.stop()


@contextmanager
def count_bar(what: str, total: int, unit: str = "", quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """Show a bar for work that is counted; yield a function that takes how many more are done.

    Args:
        what: Name of the work.
        total: Number of items.
        unit: Unit of the throughput.
        quiet: Show nothing.
    """
    done = 0
    with phase_bars(quiet, unit) as show:

        def advance(count: int) -> None:
            nonlocal done
            done += count
            show(what, done, total)

        yield advance


def _make_progress(unit: str, quiet: bool) -> Progress:
    """Return a bar with a count, the throughput and the time left, which is erased when it stops."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class ThroughputColumn(ProgressColumn):
        """Items per second, or seconds per item if it takes more than ten."""

        def render(self, task: Any) -> Text:
            if not task.speed:
                return Text("")
            slow, per_second = task.speed < 0.1, f"{task.speed:,.1f}{unit and ' ' + unit}/s"
            return Text(f"{1 / task.speed:,.0f} s each" if slow else per_second, style="dim")

    columns = [TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), ThroughputColumn()]
    columns.append(TimeRemainingColumn())
    console = error_console()
    # In a file or a pipe, an erased bar would be an empty line.
    return Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)
