"""Tables of a study of arms, as text: contrasts with their tests, arms with their measures, the search, and runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from registry.costs.units import short
from registry.statistics.intervals import Estimate
from registry.study_report.analysis import ArmResults, ContrastResult, StudyAnalysis

__all__ = ["Table", "arms_table", "contrasts_table", "runs_table", "search_table"]

#: From here on numbers are written with powers of ten.
LARGE = 1e6
#: A measure at a number is in a chart.
_AT_NUMBER = re.compile(r".+/-?\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        head: Titles of the columns.
        rows: Cells of the rows.
        text: Places of the columns that are text besides the first one, from 0; the others are numbers.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text: tuple[int, ...] = ()

    @property
    def markdown(self) -> str:
        """The table in Markdown."""

        def line(cells: Sequence[str]) -> str:
            return f"| {' | '.join(cell.replace('|', '&#124;').replace(chr(10), ' ') for cell in cells)} |"

        kinds = ("---" if place == 0 or place in self.text else "---:" for place in range(len(self.head)))
        return "\n".join([line(self.head), f"|{'|'.join(kinds)}|", *map(line, self.rows)])


def contrasts_table(contrasts: Sequence[ContrastResult]) -> Table:
    """Return the table of contrasts with their tests; intervals are 95 %."""
    holm = any(each.spec.primary for each in contrasts)
    head = ["contrast", "arms", "measure", "outcome", "per cent", "p", *(["p after Holm"] * holm), "n"]
    head += ["first", "second", "difference"]
    rows = []
    for each in contrasts:
        found, spec = each.comparison, each.spec
        outcome = f"{each.verdict} ({each.note})" if each.note else each.verdict
        cells = [each.name, f"{spec.arms[0]} - {spec.arms[1]}", spec.measure, outcome]
        if found is None:
            rows.append((*cells, *[""] * (len(head) - len(cells))))
            continue
        cells += [_interval(found.percent, "{:+.1f}"), p_text(found.p_value) if each.tested else "not tested"]
        cells += ["" if each.adjusted is None else p_text(each.adjusted)] * holm + [str(len(found.seeds))]
        cells += [f"{found.first:.4g}", f"{found.second:.4g}", _interval(found.difference, "{:+.3g}")]
        rows.append(tuple(cells))
    return Table(tuple(head), tuple(rows), text=(1, 2, 3))


def arms_table(analysis: StudyAnalysis) -> Table:
    """Return the table of arms: runs, cost, and the means of their measures with 95 % intervals over seeds."""
    measures = [name for name in analysis.measures if not _AT_NUMBER.fullmatch(name)]
    searched = analysis.study.search is not None
    head = ["arm", "runs", *(["setting"] * searched), *measures, "FLOPs", "seconds", "CPU seconds", "summary"]
    rows = tuple(_arm(arm, measures, searched) for arm in analysis.arms)
    return Table(tuple(head), rows, text=(len(head) - 1,))


def _arm(arm: ArmResults, measures: Sequence[str], searched: bool) -> tuple[str, ...]:
    count = len(arm.runs) + len(arm.failed) + len(arm.missing)
    flops = arm.mean(lambda run: run.training_flops)
    times = (arm.mean(lambda run: run.seconds), arm.mean(lambda run: run.cpu_seconds))
    settings = dict.fromkeys(str(run.setting) for run in arm.runs)
    return (
        arm.name,
        f"{len(arm.runs)} of {count}",
        *([", ".join(settings)] * searched),
        *(_interval(arm.estimate(name), "{:.4g}") for name in measures),
        "" if flops is None else short(round(flops)),
        *("" if each is None else f"{each:.0f}" for each in times),
        arm.summary,
    )


def search_table(analysis: StudyAnalysis) -> Table | None:
    """Return the mean of the measure that a search compares, by arm and value; None without a search."""
    search = analysis.study.search
    if search is None:
        return None
    rows = []
    for arm in analysis.arms:
        cells = []
        for place, _ in enumerate(search.values):
            runs = [run for run in analysis.searched if run.arm == arm.name and run.searched == place]
            values = [run.measures[search.by] for run in runs if run.status == "finished" and search.by in run.measures]
            failed = sum(run.status != "finished" for run in runs)
            text = f"{sum(values) / len(values):.4g} ({len(values)})" if values else ""
            cells.append(f"{text} {failed} failed".strip() if failed else text)
        rows.append((arm.name, *cells))
    return Table(("arm", *(f"{search.set}={value}" for value in search.values)), tuple(rows))


def runs_table(analysis: StudyAnalysis) -> Table:
    """Return the table of all runs with results, without those of the search."""
    measures = list(dict.fromkeys(each.spec.measure for each in analysis.contrasts))
    head = ("run", "status", *measures, "steps", "FLOPs", "seconds", "CPU seconds", "hardware", "date")
    rows = []
    for arm in analysis.arms:
        for run in sorted((*arm.runs, *arm.failed), key=lambda run: run.seed):
            values = (f"{run.measures[name]:.5g}" if name in run.measures else "" for name in measures)
            steps, hardware = sum(run.steps.values()), run.environment.get("hardware", "")
            cost = (str(steps), short(round(run.training_flops)), f"{run.seconds:.0f}", f"{run.cpu_seconds:.0f}")
            rows.append((run.key.name, run.status, *values, *cost, hardware, run.date))
    return Table(head, tuple(rows), text=(1, len(head) - 2, len(head) - 1))


def p_text(value: float) -> str:
    """Return a p value as text: ``0.0078``, or ``< 0.0001``."""
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}" if value < 0.995 else "1"


def _interval(estimate: Estimate | None, form: str) -> str:
    """Return a value with its interval: ``0.12 (0.10 to 0.15)``."""
    if estimate is None:
        return ""
    value = _number(estimate.value, form)
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} ({_number(estimate.low, form)} to {_number(estimate.high, form)})"


def _number(value: float, form: str) -> str:
    """Return a number in a form; a very large one in the form of powers of ten."""
    short_form = re.sub(r"\.\d[fg]", ".2g", form)
    return (short_form if abs(value) >= LARGE else form).format(value)
