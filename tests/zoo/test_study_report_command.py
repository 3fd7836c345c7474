"""``zoo study NAME --report``: the report of results that are there, and what cannot be reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.study_runs.results import save_result
from tests.helpers.made_up_study import made_up_result

STUDY = """\
name: made-up
data: noto-emoji-64
base: {entry: flat-n32, phases: {p32: {train: r32, share: 1, batch: 2}}}
arms: {nested: {}, flat: {}}
seeds: 2
budget: {training_flops: 1e12, tolerance: 0.5}
measures: [p1]
contrasts: {sharing: {arms: [nested, flat], measure: p1, primary: true}}
"""


@pytest.fixture
def report(cli):
    """Write results of some seeds, and report the study; return code, output and errors."""
    Path("made-up.yaml").write_text(STUDY)

    def call(seeds, *options):
        for arm in ("nested", "flat"):
            for seed in seeds:
                result = made_up_result(arm, seed, curves={}, series={}, measures={"p1": 0.1 + seed / 100})
                save_result(result, Path("results/studies/made-up"))
        return cli("study", "made-up.yaml", *options)

    return call


def test_report_of_the_results_so_far(report):
    assert report([0], "--report") == (0, "results/studies/made-up/report.html\n", "")
    text = Path("results/studies/made-up/report.md").read_text()
    assert "2 of 4 runs" in text and "- nested: no results of seeds 1" in text


def test_results_elsewhere(report):
    code, out, err = report([0], "--report", "--results", "other")
    assert code == 2 and out == "" and "no run of made-up has finished; run 'zoo study made-up' first" in err


def test_a_file_that_is_no_result(report):
    Path("results/studies/made-up").mkdir(parents=True)
    Path("results/studies/made-up/nested-s1.json").write_text("{}")
    code, _, err = report([0], "--report")
    assert code == 2 and "nested-s1.json: not the result of a run" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["made-up.yaml", "--report", "--plan"], "--plan and --report do not go together"),
        (["n32", "--report"], "n32 compares entries; --report is for studies of arms"),
    ],
)
def test_options_that_do_not_go_together(report, cli, options, message):
    code, _, err = cli("study", *options)
    assert (code, err) == (2, f"error: {message}\n")
