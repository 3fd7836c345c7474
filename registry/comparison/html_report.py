"""A comparison as one self-contained HTML file with tables, charts and pictures."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable
from pathlib import Path

from builders.files import read_regular
from registry.comparison.charts import bar_chart, color, cost_bars, scatter_chart, training_charts
from registry.comparison.compare import Comparison, Row
from registry.comparison.html_page import html_figures, html_page, html_rows, write_page
from registry.costs.card import STEPS
from registry.costs.units import short, short_bytes
from registry.evaluation.results import MOTION_SHARE, Metric, grid_path, how_drawn, is_distance

__all__ = ["report_html", "write_report"]


def write_report(comparison: Comparison, path: str | Path) -> Path:
    """Write the report to a file.

    Args:
        comparison: Entries to report.
        path: File to write, an .html file.

    Raises:
        ValueError: The path is not an .html file.
        OSError: The file cannot be written and is unchanged.
    """
    return write_page(path, report_html(comparison))


def report_html(comparison: Comparison) -> str:
    """Return the report as HTML."""
    names = ", ".join(row.name for row in comparison.rows)
    protocol = comparison.title or "none measured"
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in comparison.notes)
    sections = [
        f"<h1>Comparison of {len(comparison.rows)} entries</h1>",
        f'<p class="lead">{html.escape(names)}. Distances: {html.escape(protocol)}. Costs are per sample; one '
        "multiply-add is two FLOPs.</p>",
        f'<ul class="notes">{notes}</ul>' if notes else "",
        f'<div class="scroll">{_main_table(comparison)}</div>',
        _charts(comparison),
        "<h2>Architecture choices that differ</h2>",
        f'<div class="scroll">{_choices(comparison)}</div>',
        _reported(comparison),
        _samples(comparison),
        _diagrams(comparison),
        _origins(comparison),
    ]
    return html_page(names, sections)


def _row(comparison: Comparison, row: Row, cells: Iterable[str]) -> str:
    """Return the cells of a table row, the entry's name with its color first."""
    dot = f'<i class="dot" style="background:{color(comparison.rows.index(row))}"></i>'
    texts = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
    return f"<td>{dot}{html.escape(row.name)}</td>{texts}"


def _main_table(comparison: Comparison) -> str:
    head = ["entry", "levels", "parameters", "MACs", "FLOPs", f"FLOPs, {STEPS} steps", "activations, training"]
    best = {metric: comparison.best(metric) for metric in comparison.metrics}
    rows = []
    for row in comparison.rows:
        card = row.card
        cells = [
            " / ".join(row.entry.labels),
            f"{card.parameters:,}",
            short(card.macs),
            short(card.flops),
            short(card.sampling_flops(STEPS)),
            short_bytes(card.memory.training),
        ]
        metrics = (_metric(row.metric(metric), best[metric]) for metric in comparison.metrics)
        rows.append(_row(comparison, row, cells) + "".join(metrics))
    return html_rows([*head, *comparison.metrics], rows)


def _metric(found: Metric | None, best: float | None) -> str:
    if found is None:
        return '<td class="none">not measured</td>'
    about = found.uncertainty("{:.4g}".format)
    span = f"<br><small>{about}</small>" if about else ""
    return f"<td{' class=best' if found.value == best else ''}>{found.value:.4g}{span}</td>"


def _charts(comparison: Comparison) -> str:
    charts = []
    for metric in comparison.metrics:
        if metric.startswith(MOTION_SHARE):
            charts.append((f"{metric}, with 95 % intervals", bar_chart(comparison, metric)))
        if not is_distance(metric):
            continue
        charts.append((f"FLOPs against {metric}", scatter_chart(comparison, lambda r: r.card.flops, "FLOPs", metric)))
        by_parameters = scatter_chart(comparison, lambda r: r.card.parameters, "parameters", metric)
        charts.append((f"Parameters against {metric}", by_parameters))
        charts.append((f"{metric}, with 95 % intervals", bar_chart(comparison, metric)))
    charts += _costs(comparison)
    charts += [
        (f"{title}: nested entries solid, flat ones dashed", chart) for title, chart in training_charts(comparison)
    ]
    return "<h2>Charts</h2>" + html_figures("charts", charts)


def _costs(comparison: Comparison) -> list[tuple[str, str]]:
    """Return titles and charts of the costs by level."""

    def number(cost: float) -> str:
        return short(round(cost))

    def mebibytes(cost: float) -> str:
        return short_bytes(round(cost * 2**20))

    flops = cost_bars(comparison, lambda level: level.flops, "FLOPs of one forward pass", number)
    parameters = cost_bars(comparison, lambda level: level.parameters, "parameters", number)
    title = "MiB of activations saved for the backward pass"
    memory = cost_bars(comparison, lambda level: level.memory.training / 2**20, title, mebibytes, "{:g}".format)
    return [
        ("FLOPs by level, and their sum", flops),
        ("Parameters by level, and their sum", parameters),
        ("Memory by level, and their sum", memory),
    ]


def _choices(comparison: Comparison) -> str:
    names = comparison.differing
    rows = [_row(comparison, row, [row.params.get(name, "") for name in names]) for row in comparison.rows]
    return html_rows(["entry", *names], rows)


def _reported(comparison: Comparison) -> str:
    rows = [
        _row(comparison, row, [f"{item.metric} {item.value:g}", item.data, f"{item.source}; {item.note}"])
        for row in comparison.rows
        for item in row.reported
    ]
    if not rows:
        return ""
    return "<h2>Reported by others, under other protocols</h2>" + html_rows(["entry", "value", "data", "source"], rows)


def _samples(comparison: Comparison) -> str:
    figures = []
    for row in comparison.rows:
        for measurement in row.measurements:
            path = grid_path(measurement)
            if path is not None:
                content = base64.b64encode(read_regular(path)).decode()
                title = row.name + (", clips" if measurement is row.clips else "")
                image = f'<img alt="samples of {html.escape(title)}" src="data:image/png;base64,{content}">'
                figures.append((title, image))
    return "<h2>Samples</h2>" + html_figures("pictures", figures) if figures else ""


def _diagrams(comparison: Comparison) -> str:
    from registry.publishing.diagram import draw_svg

    figures = [(row.name, draw_svg(row.entry.architecture)) for row in comparison.rows]
    return "<h2>Architectures</h2>" + html_figures("charts", figures)


def _origins(comparison: Comparison) -> str:
    """Return a table of hashes and of what the numbers were measured with."""
    rows = []
    for row in comparison.rows:
        hashes = [row.card.hash, row.card.graph_hash]
        origins = [
            [m.weights, how_drawn(m.sampler), m.environment.get("hardware", ""), m.date] for m in row.measurements
        ]
        rows += [_row(comparison, row, [*hashes, *cells]) for cells in origins or [[""] * 4]]
    head = ["entry", "hash", "graph hash", "weights", "sampler", "hardware", "measured"]
    return "<h2>Origin of the numbers</h2>" + f'<div class="scroll">{html_rows(head, rows)}</div>'
