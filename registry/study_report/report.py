"""The report of a study of arms, written from its results alone: an HTML page, and Markdown with pictures."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from builders.files import read_regular, replacing, write_text
from registry.comparison.drawing import png_chart, svg_chart
from registry.comparison.html_page import html_figures, html_page, html_text_table, write_page
from registry.study_report.analysis import StudyAnalysis, analyse
from registry.study_report.charts import Chart, charts_of
from registry.study_report.tables import Table, arms_table, contrasts_table, runs_table, search_table
from registry.study_runs.results import RunResult, picture_path, read_picture
from specs.arms import LoadedArmStudy
from specs.schemas.arms import ArmStudy

__all__ = ["report_html", "report_markdown", "write_report"]

#: What all reports say of their statistics.
METHODS = (
    "Each difference is the first arm minus the second one, paired by seed. p: exact permutation of the signs of the "
    "differences, two-sided unless the study says otherwise; after Holm: adjusted for all primary contrasts of the "
    "study. Intervals: 95 %, bootstrap-t over seeds. They say what other seeds would give, not other data, sizes or "
    "budgets."
)


def write_report(loaded: LoadedArmStudy, results: Sequence[RunResult], folder: Path) -> Path:
    """Write ``report.html``, and ``report.md`` with its pictures in ``report/``; return the page.

    Args:
        loaded: The study.
        results: Results of its runs.
        folder: Folder to write to. Pictures of samples are read from it.

    Raises:
        ValueError: There are no results of its arms.
        OSError: A file cannot be written.
    """
    written = hashlib.sha256(read_regular(loaded.path)).hexdigest() if loaded.path.is_file() else ""
    analysis = analyse(loaded.study, results, written)
    if loaded.overrides:
        note = f"changed by --set, not as registered: {'; '.join(loaded.overrides)}"
        analysis = replace(analysis, notes=(note, *analysis.notes))
    if not analysis.runs:
        raise ValueError(f"no run of {loaded.study.name} has finished; run 'zoo study {loaded.study.name}' first")
    charts = charts_of(analysis)
    page = write_page(folder / "report.html", report_html(analysis, folder, charts, changed=bool(loaded.overrides)))
    for chart in charts:
        path = folder / "report" / f"{chart.key}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as fresh:
            fresh.write_bytes(png_chart(chart.draw, chart.height))
    write_text(folder / "report.md", report_markdown(analysis, charts))
    return page


def report_html(analysis: StudyAnalysis, folder: Path, charts: Sequence[Chart], *, changed: bool = False) -> str:
    """Return the report as HTML.

    Args:
        analysis: The study with its results.
        folder: Folder of the pictures of samples.
        charts: Its charts.
        changed: Whether the study is not as in its file.
    """
    study, unregistered = analysis.study, changed or any(run.exploratory for run in analysis.runs)
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in analysis.notes)
    figures = [(chart.title, svg_chart(f"{study.name} {chart.key}", chart.draw, chart.height)) for chart in charts]
    sections = [
        f"<h1>Study {html.escape(study.name)}</h1>",
        f'<p class="lead">{html.escape(_lead(analysis))}</p>',
        f'<ul class="notes">{notes}</ul>' if notes else "",
        _text(f"Hypotheses{'' if unregistered else ', as registered'}", study.hypotheses),
        *_tables_html(analysis),
        f'<p class="lead">{html.escape(METHODS)}</p>',
        "<h2>Charts</h2>" + html_figures("charts", figures) if figures else "",
        _samples(analysis, folder),
        "<h2>Runs</h2>" + _table(runs_table(analysis)),
        _origin(analysis),
    ]
    return html_page(f"Study {study.name}", sections)


def _tables_html(analysis: StudyAnalysis) -> list[str]:
    return [f"<h2>{html.escape(title)}</h2>{_table(table)}" for title, table in _tables(analysis)]


def _tables(analysis: StudyAnalysis) -> list[tuple[str, Table]]:
    """Return the tables of results with their titles."""
    others = [each for each in analysis.contrasts if not each.spec.primary]
    searched = search_table(analysis)
    tables = [("Primary contrasts", contrasts_table(analysis.primary))] if analysis.primary else []
    tables += [("Other contrasts", contrasts_table(others))] if others else []
    tables.append(("Arms", arms_table(analysis)))
    if searched is not None and analysis.study.search is not None:
        tables.append((f"Search: mean {analysis.study.search.by} (number of seeds)", searched))
    return tables


def report_markdown(analysis: StudyAnalysis, charts: Sequence[Chart]) -> str:
    """Return the report as Markdown: its tables, and charts as files in ``report/``."""
    parts = [f"# Study {analysis.study.name}", _lead(analysis)]
    parts += ["\n".join(f"- {note}" for note in analysis.notes)] * bool(analysis.notes)
    parts += [f"## {title}\n\n{table.markdown}" for title, table in _tables(analysis)]
    parts.append(METHODS)
    parts += [f"![{chart.title}](report/{chart.key}.png)" for chart in charts]
    return "\n\n".join(parts) + "\n"


def _lead(analysis: StudyAnalysis) -> str:
    study, runs = analysis.study, analysis.runs
    planned = len(study.arms) * len(study.seeds)
    cost = f"{study.budget.training_flops:.3g} training FLOPs each"
    text = f"{study.summary} {len(runs)} of {planned} runs on {study.data}, {cost}, seeds {_seeds(study)}."
    commits = ", ".join(dict.fromkeys(run.commit[:12] for run in runs if run.commit))
    return f"{text} Registered in commit {commits}.".strip() if commits else text.strip()


def _seeds(study: ArmStudy) -> str:
    seeds = study.seeds
    whole = len(seeds) > 2 and seeds == tuple(range(seeds[0], seeds[0] + len(seeds)))
    return f"{seeds[0]} to {seeds[-1]}" if whole else ", ".join(map(str, seeds))


def _text(title: str, text: str) -> str:
    """Return paragraphs that are written in a study; each item of a numbered list is one."""
    parts = [part.strip() for part in text.split("\n\n")]
    items = [re.split(r"\n(?=\d{1,2}\. )", part) if part.startswith("1. ") else [part] for part in parts if part]
    paragraphs = [f"<p>{html.escape(item)}</p>" for each in items for item in each]
    return f"<h2>{html.escape(title)}</h2>{''.join(paragraphs)}" if paragraphs else ""


def _table(table: Table) -> str:
    return f'<div class="scroll">{html_text_table(table.head, table.rows, table.text)}</div>'


def _samples(analysis: StudyAnalysis, folder: Path) -> str:
    """Return the samples of the first seed of every arm that has a picture."""
    figures = []
    for arm in analysis.arms:
        for run in arm.runs:
            picture = _picture(folder, run)
            if picture is not None:
                figures.append((f"{arm.name}, seed {run.seed}", picture))
                break
    return "<h2>Samples</h2>" + html_figures("pictures", figures) if figures else ""


def _picture(folder: Path, run: RunResult) -> str | None:
    path = picture_path(run, folder)
    if path is None:
        return None
    try:
        content = base64.b64encode(read_picture(path)).decode()
    except OSError:
        return None
    return f'<img alt="samples of {html.escape(run.key.name)}" src="data:image/png;base64,{content}">'


def _origin(analysis: StudyAnalysis) -> str:
    """Return what all runs were made with."""
    facts: dict[str, dict[str, None]] = {}
    for run in analysis.runs:
        for name, value in {**run.environment, "registered": run.registered, "threads": str(run.threads)}.items():
            facts.setdefault(name, {})[value] = None
    rows = tuple((name, ", ".join(value for value in values if value)) for name, values in sorted(facts.items()))
    return "<h2>Origin</h2>" + _table(Table(("", "values"), rows, text=(1,)))
