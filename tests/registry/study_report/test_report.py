"""The report of a study: its tables, its charts, its files, and results that were written by others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from registry.study_report.analysis import analyse
from registry.study_report.bands import curves_by_arm, gradients_by_arm, numbers_by_arm
from registry.study_report.charts import charts_of
from registry.study_report.report import report_html, report_markdown, write_report
from registry.study_report.tables import Table, arms_table, contrasts_table, p_text, runs_table, search_table
from tests.helpers.made_up_study import loaded_study, made_up_result, made_up_results, made_up_study


@pytest.fixture(scope="module")
def analysis():
    return analyse(made_up_study(), made_up_results())


def test_table_of_contrasts(analysis):
    table = contrasts_table(analysis.primary)
    assert table.head == (
        "contrast", "arms", "measure", "outcome", "per cent", "p", "p after Holm", "n", "first", "second", "difference"
    )  # fmt: skip
    row = dict(zip(table.head, table.rows[0], strict=True))
    found = analysis.primary[0].comparison
    assert row["arms"] == "nested - flat" and row["n"] == "8" and row["outcome"] == "nested lower"
    assert (row["p"], row["p after Holm"]) == ("0.0078", "0.016")
    percent = found.percent
    assert row["per cent"] == f"{percent.value:+.1f} ({percent.low:+.1f} to {percent.high:+.1f})"
    assert float(row["difference"].split()[0]) == pytest.approx(found.difference.value, rel=1e-2)


def test_table_of_contrasts_that_were_not_measured():
    found = analyse(made_up_study(), made_up_results(arms=("nested",)))
    table = contrasts_table(found.contrasts)
    assert {len(row) for row in table.rows} == {len(table.head)}
    assert table.rows[0][3] == "not measured (no seed has p1 of both arms)"


def test_table_of_arms(analysis):
    table = arms_table(analysis)
    row = dict(zip(table.head, table.rows[0], strict=True))
    assert row["runs"] == "8 of 8" and row["FLOPs"] == "1.00 T" and row["seconds"] == "164"
    assert "to" in row["p1"] and "p1/-5" not in table.head and "setting" not in table.head
    assert runs_table(analysis).rows[0][:2] == ("nested-s0", "finished") and len(runs_table(analysis).rows) == 24


def test_table_of_a_search():
    search = {"set": "optimizer.learning_rate", "values": [1e-3, 2e-3], "seeds": [100, 101], "by": "p1"}
    study = made_up_study(search=search)
    tried = [
        made_up_result("nested", seed, searched=place, setting=value, measures={"p1": 0.1 + place / 100})
        for seed in (100, 101)
        for place, value in enumerate(search["values"])
    ]
    tried[0] = tried[0].model_copy(update={"status": "failed"})
    results = [made_up_result("nested", seed, setting=0.001) for seed in range(8)]
    table = search_table(analyse(study, [*tried, *results]))
    assert table.head == ("arm", "optimizer.learning_rate=0.001", "optimizer.learning_rate=0.002")
    assert table.rows[0] == ("nested", "0.1 (1) 1 failed", "0.11 (2)") and table.rows[1] == ("flat", "", "")
    arms = arms_table(analyse(study, results))
    assert arms.rows[0][arms.head.index("setting")] == "0.001"


@pytest.mark.parametrize(("value", "text"), [(2 / 256, "0.0078"), (1e-5, "< 0.0001"), (1.0, "1"), (0.21, "0.21")])
def test_p_values_as_text(value, text):
    assert p_text(value) == text


def test_curves_of_arms(analysis):
    flops, seconds = (curves_by_arm(analysis, over)["val_v_loss/r32"]["flat"] for over in ("flops", "seconds"))
    assert flops.x == (2.5e11, 5e11, 1e12) and len(flops.rows) == 8
    assert seconds.x == pytest.approx((43.5, 87.0, 174.0)) and seconds.rows == flops.rows


def test_a_curve_that_was_cut_short():
    whole, short = made_up_result("flat", 0), made_up_result("flat", 1)
    curve = short.curves["val_v_loss/r32"]
    cut = curve.model_copy(update={name: getattr(curve, name)[1:] for name in ("steps", "flops", "seconds", "values")})
    short = short.model_copy(update={"curves": {"val_v_loss/r32": cut}})
    found = curves_by_arm(analyse(made_up_study(), [whole, short]))["val_v_loss/r32"]
    assert found["flat"].x == (5e11, 1e12) and "nested" not in found


def test_measures_at_numbers(analysis):
    found = numbers_by_arm(analysis)
    assert set(found) == {"p1"} and found["p1"]["cut"].x == tuple(range(-5, 7)) and len(found["p1"]["cut"].rows) == 8


def test_gradients_over_training(analysis):
    found = gradients_by_arm(analysis)
    assert set(found) == {"gradient noise scale of total", "gradient norm of total on r32"}
    assert found["gradient norm of total on r32"]["nested"].x == (100, 200, 400)
    broken = [
        made_up_result("nested", seed, series={"gradients": value})
        for seed, value in enumerate(["text", {"steps": [1], "facts": []}, {"steps": [1], "facts": [{"norms": 3}]}, {}])
    ]
    assert gradients_by_arm(analyse(made_up_study(), broken)) == {}


def test_report_without_most_results(tmp_path):
    """One run, no curves, no intervals: nothing is drawn that there is not."""
    run = made_up_result("nested", 0, curves={}, series={}, measures={"p1": 0.0, "p2": -0.01})
    found = analyse(made_up_study(), [run])
    text = report_html(found, tmp_path, charts_of(found))
    assert "1 of 24 runs" in text and "<svg" not in text
    assert "1 of 24 runs" in report_markdown(found, ())


def test_values_that_have_no_difference_in_per_cent():
    results = [
        made_up_result(arm, seed, measures={"p2": seed - 3.0}) for arm in ("nested", "flat") for seed in range(5)
    ]
    found = analyse(made_up_study(), results)
    table = contrasts_table(found.contrasts)
    assert table.rows[2][table.head.index("per cent")] == "" and table.rows[2][table.head.index("difference")] != ""
    assert charts_of(found)[0].key == "values-p2"


@pytest.fixture
def axes():
    return Figure().subplots()


def drawn_chart(key, axes, nested, flat):
    """Draw a chart of two arms with these values of p2, also in their curves; return the ends of its intervals."""
    curve = made_up_result("flat", 0).curves["val_v_loss/r32"]
    results = []
    for arm, row in (("nested", nested), ("flat", flat)):
        for seed, value in enumerate(row):
            curves = {"val_v_loss/r32": curve.model_copy(update={"values": (value,) * len(curve.values)})}
            results.append(made_up_result(arm, seed, measures={"p2": value}, series={}, curves=curves))
    found = analyse(made_up_study(contrasts={"c": {"arms": ["nested", "flat"], "measure": "p2"}}), results)
    {chart.key: chart for chart in charts_of(found)}[key].draw(axes)
    ends = [x for lines in axes.collections for path in lines.get_paths() for x, _ in path.vertices]
    assert np.isfinite(ends).all()
    return ends


def test_an_infinite_difference_leaves_the_chart_on_one_side(axes):
    ends = drawn_chart("contrasts", axes, [2.0] * 8, [2.0] * 7 + [1.0])
    low, high = axes.get_xlim()
    assert low < min(ends) < 0 and max(ends) > high and "long intervals are cut" in axes.get_xlabel()


def test_an_infinite_difference_of_0_leaves_the_chart(axes):
    ends = drawn_chart("contrasts", axes, [2.0, 2.0, 1.0, 1.0], [1.0, 1.0, 2.0, 2.0])
    low, high = axes.get_xlim()
    assert min(ends) < low and max(ends) > high and "long intervals are cut" in axes.get_xlabel()


def test_an_infinite_interval_of_an_arm_leaves_the_chart(axes):
    ends = drawn_chart("values-p2", axes, [2.0] * 8, [2.0] * 7 + [1.0])
    low, high = axes.get_xlim()
    assert min(ends) < low and max(ends) < high and "long intervals are cut" in axes.get_xlabel()


@pytest.mark.parametrize(("sign", "limits"), [(1, (0.95, 2.1)), (-1, (-2.2, -0.8))])
def test_an_infinite_band_does_not_change_the_axis(sign, limits, axes):
    drawn_chart("curve-val-v-loss-r32", axes, [sign * 2.0] * 8, [sign * 2.0] * 7 + [sign * 1.0])
    band = axes.collections[1].get_paths()[0].vertices[:, 1]
    assert np.isfinite(band).all() and (band.min() < limits[0] or band.max() > limits[1])
    assert axes.get_ylim() == pytest.approx(limits)


def test_long_names_leave_room_for_the_charts(tmp_path):
    first, second, measure = ("x" * 60, "y" * 60, "z" * 200)
    contrasts = {"c" * 60: {"arms": [first, second], "measure": measure, "primary": True}}
    study = made_up_study(arms={first: {}, second: {}}, contrasts=contrasts)
    results = [
        made_up_result(arm, seed, measures={measure: 1.0 + seed}, curves={}, series={})
        for arm in (first, second)
        for seed in range(4)
    ]
    found = analyse(study, results)
    text = report_html(found, tmp_path, charts_of(found))  # matplotlib would warn of axes without room
    assert text.count("<svg") == 2 and "x" * 18 + "…" in text


def test_measures_with_one_file_name_have_two_files():
    names = ("a/b", "a b")
    contrasts = {f"c{place}": {"arms": ["nested", "flat"], "measure": name} for place, name in enumerate(names)}
    runs = [made_up_result(arm, 0, measures=dict.fromkeys(names, 1.0), curves={}) for arm in ("nested", "flat")]
    keys = [chart.key for chart in charts_of(analyse(made_up_study(contrasts=contrasts), runs))]
    assert keys[1:3] == ["values-a-b", "values-a-b-2"] and len(set(keys)) == len(keys)


def test_write_report(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "nested-s0.png")
    results = [each.model_copy(update={"series": {}}) for each in made_up_results(4, ("nested", "flat"))]
    results[0] = results[0].model_copy(update={"samples": "nested-s0.png"})
    page = write_report(loaded_study(contrasts={}), results, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert page == tmp_path / "report.html"
    assert text.count("<svg") == 3 and 'alt="samples of nested-s0"' in text
    assert "<p>Nested is lower than flat.</p><p>It is lower than cut.</p>" in text
    assert "Registered in commit 0123456789ab." in text and "made-up CPU" in text
    written = (tmp_path / "report.md").read_text(encoding="utf-8")
    pictures = {path.name for path in (tmp_path / "report").iterdir()}
    assert len(pictures) == 3 and all(f"(report/{name})" in written for name in pictures)


def test_a_report_of_a_changed_study_says_so(tmp_path):
    loaded, change = loaded_study(), "contrasts.late={arms: [nested, cut], measure: p2}"
    changed = replace(loaded, overrides=(change,))
    for study, count in ((loaded, 0), (changed, 1)):
        text = write_report(study, made_up_results(4), tmp_path).read_text(encoding="utf-8")
        assert text.count(f"<li>changed by --set, not as registered: {change}</li>") == count
        assert text.count("<h2>Hypotheses, as registered</h2>") == 1 - count


def test_hypotheses_of_exploratory_runs_are_not_called_registered(tmp_path):
    study = made_up_study(hypotheses="1. It is better than\n1.5 times.\n2. It is faster.\n\nAs in\n2023. So it is.")
    for exploratory, title in ((False, "Hypotheses, as registered"), (True, "Hypotheses")):
        run = made_up_result("nested", 0).model_copy(update={"exploratory": exploratory})
        paragraphs = ("1. It is better than\n1.5 times.", "2. It is faster.", "As in\n2023. So it is.")
        written = f"<h2>{title}</h2>" + "".join(f"<p>{each}</p>" for each in paragraphs)
        assert written in report_html(analyse(study, [run]), tmp_path, ())


def test_columns_of_text_are_aligned_left(analysis, tmp_path):
    text = report_html(analysis, tmp_path, ())
    assert '<th class="text">outcome</th>' in text and '<td class="text">nested lower</td>' in text
    assert "<th>per cent</th>" in text and "<td>0.0078</td>" in text
    assert '<th class="text">values</th>' in text and "<th>FLOPs</th>" in text


def test_numbers_are_aligned_right_in_markdown(analysis):
    assert contrasts_table(analysis.primary).markdown.splitlines()[1] == "|---" * 4 + "|---:" * 7 + "|"
    assert search_table(analysis) is None and Table(("a", "b"), ()).markdown == "| a | b |\n|---|---:|"


def test_very_large_numbers_are_short():
    study = made_up_study(contrasts={"c": {"arms": ["nested", "flat"], "measure": "p2", "scale": "log"}})
    runs = [made_up_result("flat", seed, measures={"p2": 1.0}) for seed in range(8)]
    runs += [
        made_up_result("nested", seed, measures={"p2": 2.0 if seed == 7 else 1 + 1e-4 * seed}) for seed in range(8)
    ]
    row = dict(zip(*[(table := contrasts_table(analyse(study, runs).contrasts)).head, table.rows[0]], strict=True))
    assert row["per cent"].startswith("+9.1 (-3.1 to +8.4e+") and len(row["per cent"]) < 30
    large = [run.model_copy(update={"measures": {"p2": 12_345_678.0}}) for run in runs]
    table = arms_table(analyse(study, large))
    assert table.rows[0][table.head.index("p2")] == "1.2e+07 (1.2e+07 to 1.2e+07)"


def test_no_results_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="no run of made-up has finished; run 'zoo study made-up' first"):
        write_report(loaded_study(), [], tmp_path)
    assert not list(tmp_path.iterdir())


def test_text_of_others_is_text(tmp_path):
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "folder"
    folder.mkdir()
    bad = made_up_result("nested", 1, status="failed", failure="<script>x</script>")
    run = made_up_result("nested", 0, samples="../secret", curves={}, series={}, measures={"a|b$": 1.0})
    found = analyse(made_up_study(summary="<b>"), [bad, run])
    text = report_html(found, folder, ())
    assert "<script>" not in text and "<b>" not in text and "base64" not in text
    assert "a&#124;b$" in report_markdown(found, ())
