"""Progress bars on stderr: what is done, how fast, and how long the rest takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["CountBar", "PhaseBar", "make_progress"]


def make_progress(unit: str = "", quiet: bool = False) -> Progress:
    """A bar with a count, a rate in ``unit`` a second and the time left; it leaves nothing behind."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class RateColumn(ProgressColumn):
        """So many a second, or seconds for each where they are slow."""

        def render(self, task: Any) -> Text:
            speed = task.speed
            if not speed:
                return Text("")
            return Text(
                f"{speed:,.1f}{unit and ' ' + unit}/s" if speed >= 0.1 else f"{1 / speed:,.0f} s each", style="dim"
            )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet)


class PhaseBar:
    """Bars for work of several phases, each shown once it is first told of.

    Used as a context, it gives a function to tell: what is being done, how much of it is done, and of how much.

    Args:
        quiet: show nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.progress = make_progress(quiet=quiet)
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Callable[[str, int, int], object]:
        return self._show

    def _show(self, what: str, done: int, total: int) -> None:
        # Not before there is something to show: an error that comes first stands alone.
        self.progress.start()
        if what not in self.tasks:
            self.tasks[what] = self.progress.add_task(what, total=total)
        self.progress.update(self.tasks[what], completed=done)

    def __exit__(self, *_: object) -> None:
        if self.tasks:
            self.progress.stop()


class CountBar:
    """A bar for one thing that is counted.

    Used as a context, it gives a function to tell how many more are done.

    Args:
        what: that is done.
        total: how many there are.
        unit: of the rate.
        quiet: show nothing.
    """

    def __init__(self, what: str, total: int, unit: str = "", quiet: bool = False) -> None:
        self.progress = make_progress(unit, quiet)
        self.task = self.progress.add_task(what, total=total)
        self.started = False

    def __enter__(self) -> Callable[[int], object]:
        return self._advance

    def _advance(self, count: int) -> None:
        self.progress.start()
        self.started = True
        self.progress.advance(self.task, count)

    def __exit__(self, *_: object) -> None:
        if self.started:
            self.progress.stop()
