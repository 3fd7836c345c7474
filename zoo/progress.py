"""Progress bars on stderr: what is done, how fast, and how long the rest takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["CountBar", "make_progress"]


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
            return Text(f"{speed:,.1f} {unit}/s" if speed >= 0.1 else f"{1 / speed:,.0f} s each", style="dim")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet)


class CountBar:
    """A bar for one thing that is counted.

    Args:
        what: that is done.
        total: how many there are.
        unit: of the rate.
        quiet: show nothing.
    """

    def __init__(self, what: str, total: int, unit: str = "", quiet: bool = False) -> None:
        self.progress = make_progress(unit, quiet)
        self.task = self.progress.add_task(what, total=total)

    def __enter__(self) -> Callable[[int], object]:
        self.progress.start()
        return lambda count: self.progress.advance(self.task, count)

    def __exit__(self, *_: object) -> None:
        self.progress.stop()
