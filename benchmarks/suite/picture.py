"""The ladder as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.suite.ladder import KINDS, Rung

__all__ = ["draw_ladder"]

BAR, PALE = "#3b6ea5", "#c8d5e3"


def draw_ladder(rungs: Sequence[Rung], path: Path, machine: str) -> None:
    """Draw the times of all rungs as bars, with the gain over the plain implementation and the memory.

    Args:
        rungs: Rungs in order.
        path: File to write, such as ``ladder.png``.
        machine: Description of the machine, for the last line.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 0.5 * len(rungs) + 1.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    gpu = "CUDA" in machine
    names = [rung.name if index == 0 else f"+ {rung.name}" for index, rung in enumerate(rungs)]
    for panel, kind in zip(panels, KINDS, strict=True):
        for place, rung in enumerate(rungs):
            if kind not in rung.milliseconds:
                continue
            value, gain = rung.milliseconds[kind], rung.gains[kind]
            panel.barh(place, value, color=BAR if place else PALE, edgecolor=BAR, height=0.66)
            text = f" {value:,.0f} ms" if value >= 10 else f" {value:.2f} ms"
            text += f", {gain.median:.2f}x" if place else ""
            if rung.memory is not None and kind == KINDS[0]:
                text += f", {rung.memory:,.0f} MiB"
            panel.text(value, place, text, va="center", fontsize=9)
        most = max(rung.milliseconds.get(kind, 0) for rung in rungs)
        panel.set_xlim(0, most * (1.45 if kind == KINDS[0] else 1.3))
        panel.set_title(kind if kind == KINDS[0] else f"{kind} with guidance", fontsize=11)
        panel.set_xlabel("milliseconds" if gpu else "milliseconds of CPU time")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(rungs)), names)
    panels[0].invert_yaxis()
    figure.suptitle(f"{rungs[0].case}: one optimization after the other", fontsize=12)
    figure.supxlabel(machine, fontsize=8, color="#555555")
    figure.savefig(path, dpi=110)
