"""Comparisons in the terminal and as a report."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import zoo
from builders.checkpoints.weights import save_weights
from registry.comparison.compare import compare_entries
from registry.comparison.html_report import report_html
from registry.costs.units import short
from registry.evaluation.results import Metric, save
from registry.publishing.subject import weights_subject
from tests.helpers.measured import PROTOCOL, measurement
from tests.helpers.runs import write_run


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def undrawn(monkeypatch):
    """Leave out the charts, which take longest."""
    monkeypatch.setattr("registry.comparison.charts.svg_chart", lambda *_: "<svg></svg>")


@pytest.mark.usefixtures("undrawn")
def test_missing_distances_are_never_numbers(cli):
    save(measurement("mdm-micro", 3.0))
    save(measurement("doll-n32", 2.0))
    comparison = compare_entries(["mdm-micro", "doll-n32", "mdm-s256.in1k"])
    assert comparison.metrics == ("kid_made_up", "fd_made_up")
    assert [row.value("fd_made_up") for row in comparison.rows] == [3.0, 2.0, None]
    assert "not measured under this protocol: mdm-s256.in1k" in comparison.notes
    page = report_html(comparison)
    assert page.count("not measured</td>") == 2
    assert not re.search(r">\s*(nan|inf|-inf)\s*<", page, re.IGNORECASE)
    assert "3.77" in page and "a secondary summary" in page
    assert "<td class=best>2" in page
    # Needs nothing else: no address is loaded.
    assert not re.search(r'(src|href)="(?!data:|#)', page.replace("xlink:href", ""))


@pytest.mark.usefixtures("undrawn")
def test_command(cli):
    save(measurement("mdm-micro", 3.0))
    code, out, err = cli("compare", "mdm-micro", "mdm-nano", "-o", "report.html")
    assert code == 0 and "not measured" in out and "wrote report.html" in out and "note: not measured" in err
    assert cli("compare", "mdm-micro", "-o", "report.pdf")[::2] == (2, "error: report.pdf: a report is an .html file\n")
    assert "no entry is called" in cli("compare", "mdm-mikro")[2]


@pytest.mark.slow
def test_runs_of_one_entry_are_compared_by_their_weights(cli):
    entry = zoo.get("mdm-micro")
    for name, value in (("a", 2.0), ("b", 5.0)):
        write_run(Path("runs") / name, entry, [(1, {"r8": 0.9, "r16": value})])
        tensors = {key: value * tensor for key, tensor in entry.build().state_dict().items()}
        save_weights(Path("runs") / name / "ema.safetensors", entry.architecture, tensors, {})
        content = weights_subject(f"runs/{name}").metadata["content"]
        save(measurement("mdm-micro", value, weights=content[:16]))
    names = ["runs/a/", "runs/b", "runs/b/ema.safetensors", "mdm-micro"]
    comparison = compare_entries(names)
    assert [row.name for row in comparison.rows] == ["runs/a", "runs/b", "runs/b/ema.safetensors", "mdm-micro"]
    assert [row.value("fd_made_up") for row in comparison.rows][:3] == [2.0, 5.0, 5.0]
    assert [row.curve.points[0][1] for row in comparison.rows if row.run and row.curve] == [2.0, 5.0, 5.0]
    assert "runs/a" in report_html(comparison)
    found = json.loads(cli("compare", *names[:2], "--json")[1])
    assert [row["name"] for row in found["entries"]] == ["runs/a", "runs/b"]
    Path("empty").mkdir()
    code, _, errors = cli("compare", "empty", "mdm-micro")
    assert code == 2 and "no weights (.safetensors) in this folder" in errors


def test_the_protocol_of_most_entries_counts():
    other = PROTOCOL.model_copy(update={"samples": 7})
    save(measurement("mdm-micro", 3.0))
    save(measurement("mdm-micro", 9.0, protocol=other))
    save(measurement("doll-n32", 8.0, protocol=other))
    comparison = compare_entries(["mdm-micro", "doll-n32"])
    assert comparison.protocol == other
    assert [row.value("fd_made_up") for row in comparison.rows] == [9.0, 8.0]


@pytest.mark.usefixtures("undrawn")
def test_numbers_of_another_hash_are_not_shown():
    save(measurement("mdm-micro", 31.4159, hash="0" * 16))
    comparison = compare_entries(["mdm-micro"])
    assert comparison.protocol is None and comparison.rows[0].measured is None
    page = report_html(comparison)
    assert "fd_made_up" not in page and ">31.42<" not in page
    save(measurement("mdm-micro", 31.4159))
    page = report_html(compare_entries(["mdm-micro"]))
    assert "fd_made_up" in page and ">31.42<" in page


def test_differing_choices():
    assert "levels" in compare_entries(["flat-n32", "doll-n32"]).differing
    assert compare_entries(["flat-n32"]).differing == ()


def test_scores_of_which_more_is_better():
    for name, score in (("mdm-micro", 2.0), ("doll-n32", 3.0)):
        values = {"kid_made_up": Metric(value=score), "inception_score": Metric(value=score)}
        save(measurement(name, metrics=values))
    comparison = compare_entries(["mdm-micro", "doll-n32"])
    assert (comparison.best("kid_made_up"), comparison.best("inception_score")) == (2.0, 3.0)
    assert comparison.best("fid") is None


def test_samplers_never_share_a_column():
    other = {"sampler": "dpm++", "num_inference_steps": 20, "guidance_scale": 3.0, "seed": 0}
    save(measurement("mdm-micro", 3.0))
    save(measurement("flat-n32", 2.0))
    save(measurement("doll-n32", 1.0, sampler=other))
    comparison = compare_entries(["mdm-micro", "flat-n32", "doll-n32"])
    assert [row.value("fd_made_up") for row in comparison.rows] == [3.0, 2.0, None]
    assert comparison.title is not None and comparison.title.endswith("; ddim, 10 steps, guidance 1")


def test_charts_say_what_small_entries_cost():
    save(measurement("mdm-micro", 3.0))
    save(measurement("doll-n32", 2.0))
    page = report_html(compare_entries(["mdm-micro", "doll-n32", "mdm-s64"]))
    for words in ("19.12 M", "385.43 G", "50 M", "831.9 KiB"):  # sums of bars, and a tick of the logarithmic axis
        assert f">{words}</text>" in page, words


def test_costs_by_level_are_on_a_logarithmic_axis():
    from matplotlib.axes import Axes

    from registry.comparison import charts

    drawn: list[Axes] = []
    with pytest.MonkeyPatch.context() as patch:
        real = charts.log_axis
        patch.setattr(charts, "log_axis", lambda axes, *more: (drawn.append(axes), real(axes, *more)))
        page = report_html(compare_entries(["mdm-micro", "mdm-s64"]))
    assert len(drawn) == 3 and {axes.get_xscale() for axes in drawn} == {"log"}
    levels = zoo.get("mdm-micro").card().levels
    for level in levels:
        assert f">{level.label}</text>" in page and f">{short(level.flops)}</text>" in page
    # Two levels and their sum, and one level; the length of a bar is its cost.
    ends = [bar.get_x() + bar.get_width() for bar in drawn[0].patches]
    whole = zoo.get("mdm-micro").card().flops
    assert ends == pytest.approx([*(level.flops for level in levels), whole, zoo.get("mdm-s64").card().flops])


def test_every_run_is_named(tmp_path):
    entry = zoo.get("mdm-micro")
    for name in ("one", "study/two", r"$\frac 日本 <b>"):
        write_run(tmp_path / "runs" / name, entry, [(1, {"r8": 0.9}), (2, {"r8": 0.5, "r16": 0.7}), (3, {"r16": 0.0})])
    page = report_html(compare_entries(["mdm-micro", "flat-n32"], tmp_path / "runs"))
    for level in ("r16", "r8"):
        assert f"Validation loss of {level}:" in page
        for name in ("one", "study/two"):
            assert f">mdm-micro, {name}</text>" in page
        assert r">mdm-micro, $\frac 日本 &lt;b&gt;</text>" in page


def test_a_damaged_result_is_named(tmp_path):
    path = save(measurement("mdm-micro", 3.0)).absolute()
    content = path.read_text()
    for damage, words in (("{", "Invalid JSON"), (content.replace("3.0", "NaN"), "fd_made_up is not finite")):
        path.write_text(damage)
        with pytest.raises(ValueError, match=rf"{path.name}: not a measurement: {words}.*measure again"):
            compare_entries(["mdm-micro"])


def test_clips_and_images_have_their_own_columns(cli):
    """A video entry's images stand beside those of image entries; its clips have columns of their own."""
    clips = PROTOCOL.model_copy(update={"frames": 8, "rate": 4.0, "projection_seed": 0, "reference": "moving-emoji"})
    other = PROTOCOL.model_copy(update={"reference": "moving-emoji"})
    values = {"fd_changes_made_up": Metric(value=6.0), "motion_share": Metric(value=0.9, low=0.8, high=0.95)}
    save(measurement("mdm-micro", 3.0))
    save(measurement("mdm-nano", 2.0, date="2027"))
    save(measurement("mdm-nano", 1.0, protocol=other, date="2028"))
    save(measurement("mdm-nano", protocol=clips, metrics=values, date="2029"))
    comparison = compare_entries(["mdm-micro", "mdm-nano", "doll-n32"])
    assert comparison.metrics == ("kid_made_up", "fd_made_up", "fd_changes_made_up", "motion_share")
    assert [row.value("fd_made_up") for row in comparison.rows] == [3.0, 2.0, None]
    assert [row.value("fd_changes_made_up") for row in comparison.rows] == [None, 6.0, None]
    assert "16 px" in comparison.title and "; and 100 clips against moving-emoji" in comparison.title
    assert comparison.protocol == PROTOCOL
    assert comparison.notes[-1] == "not measured under this protocol: doll-n32"
    page = report_html(comparison)
    assert page.count("not measured</td>") == 2 + 2 + 2 and "motion_share, with 95 % intervals" in page
    assert "higher is better" in page and "lower is better" in page
    code, out, _ = cli("compare", "mdm-micro", "mdm-nano", "--json")
    measured = [each["measured"] for each in json.loads(out)["entries"]]
    assert code == 0 and [each["fd_changes_made_up"] for each in measured] == [None, 6.0]


def test_clips_alone_are_compared(cli):
    clips = PROTOCOL.model_copy(update={"frames": 8})
    save(measurement("doll-n32", protocol=clips, metrics={"fd_changes_made_up": Metric(value=6.0)}))
    comparison = compare_entries(["mdm-micro", "doll-n32"])
    assert comparison.metrics == ("fd_changes_made_up",) and comparison.protocol is None
    assert comparison.title.startswith("100 clips against") and comparison.rows[1].clips is not None
