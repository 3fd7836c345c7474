"""Comparisons in the terminal and as a report, cards, tables and matches."""

from __future__ import annotations

import csv
import re

import pytest
import yaml

import zoo
from builders.checkpoints.shipped import shipped_weights
from builders.checkpoints.weights import save_weights
from registry.comparison.compare import compare_entries
from registry.comparison.csv_tables import write_tables
from registry.comparison.curves import training_curve
from registry.comparison.html_report import report_html
from registry.comparison.matching import match
from registry.evaluation.results import Metric, save
from registry.publishing.model_card import model_card
from specs.load import load_text
from specs.recipe import load_recipe
from tests.helpers.measured import PROTOCOL, measurement


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


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


def test_command(cli):
    save(measurement("mdm-micro", 3.0))
    code, out, err = cli("compare", "mdm-micro", "mdm-nano", "-o", "report.html")
    assert code == 0 and "not measured" in out and "wrote report.html" in out and "note: not measured" in err
    assert cli("compare", "mdm-micro", "-o", "report.pdf")[::2] == (2, "error: report.pdf: a report is an .html file\n")
    assert "no entry is called" in cli("compare", "mdm-mikro")[2]


def test_the_protocol_of_most_entries_counts():
    other = PROTOCOL.model_copy(update={"samples": 7})
    save(measurement("mdm-micro", 3.0))
    save(measurement("mdm-micro", 9.0, protocol=other))
    save(measurement("doll-n32", 8.0, protocol=other))
    comparison = compare_entries(["mdm-micro", "doll-n32"])
    assert comparison.protocol == other
    assert [row.value("fd_made_up") for row in comparison.rows] == [9.0, 8.0]


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


@pytest.mark.parametrize("name", zoo.list())
def test_every_card(name):
    text = model_card(zoo.get(name), "picture.svg")
    _, front, body = text.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert {"license", "library_name", "pipeline_tag", "tags"} <= set(facts)
    assert body.lstrip().startswith(f"# {name}\n") and "![" in body
    for title in ("Costs", "Results", "Training", "Licences", "How to use", "Limits"):
        assert f"\n## {title}\n" in body
    assert f"{zoo.get(name).card().parameters:,}" in body and not re.search(r"\bnan\b|\binf\b", body)


@pytest.mark.parametrize("name", [name for name in zoo.list() if shipped_weights(name)])
def test_the_python_of_a_card_draws(name, tmp_path):
    text = model_card(zoo.get(name))
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(code.replace("num_inference_steps=20", "num_inference_steps=1"), {})
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["sample-0.png", "sample-1.png"]


@pytest.mark.parametrize("name", ["mdm-micro", "mdm-s256.in1k", "mdm-nano", "mdm-nano.text"])
def test_a_card_names_the_recipes_of_its_entry(name):
    from specs.recipe import list_recipes, load_recipe

    text = model_card(zoo.get(name)).partition("## Training")[2].partition("## Licences")[0]
    named = set(re.findall(r"zoo train (\S+?)`", text))
    assert named and named <= {recipe for recipe in list_recipes() if load_recipe(recipe).entry == name}


def test_a_card_of_an_entry_that_was_changed_claims_no_weights():
    assert "Weights (" in model_card(zoo.get("mdm-nano"))
    changed = model_card(zoo.get("mdm-nano", ["stages.r64.width=64"]))
    assert "The package includes no weights" in changed and "zoo sample" not in changed


@pytest.mark.parametrize("name", zoo.list())
def test_the_hub_takes_the_front_matter(name):
    hub = pytest.importorskip("huggingface_hub")
    if name == "mdm-nano":
        save(measurement(name, 3.0))
    data = hub.ModelCard(model_card(zoo.get(name))).data
    assert data.license == "apache-2.0" and "none" not in data.tags
    assert data.pipeline_tag == ("text-to-image" if "text" in data.tags[-1] else "unconditional-image-generation")
    if name == "mdm-nano":
        assert ("fd_made_up", "noto-emoji-64 train") in {(r.metric_type, r.dataset_name) for r in data.eval_results}


def test_card_with_results():
    save(measurement("mdm-nano", 3.0, metrics={"fd_made_up": Metric(value=3.0, low=2.5, high=3.5)}))
    text = model_card(zoo.get("mdm-nano"))
    assert "| fd_made_up | 3 | 2.5 to 3.5 |" in text and "100 samples against noto-emoji-64 train" in text
    facts = yaml.safe_load(text.split("---\n")[1])
    assert facts["model-index"][0]["results"][0]["metrics"][0]["value"] == 3.0
    assert "Apache-2.0" in text and "nano-hour" in text
    assert "Reported by others" in model_card(zoo.get("mdm-s256.in1k"))


def test_card_command(cli):
    assert cli("card", "mdm-micro", "-o", "cards/micro.md")[0] == 0
    code, out, _ = cli("card", "mdm-micro")
    assert code == 0 and out.startswith("---\nlicense: apache-2.0\n")
    assert cli("card", "mdm-micro", "-o", "micro.svg")[::2] == (2, "error: micro.svg: a card is an .md file\n")


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


def test_a_damaged_result_is_named(tmp_path):
    path = save(measurement("mdm-micro", 3.0)).absolute()
    content = path.read_text()
    for damage, words in (("{", "Invalid JSON"), (content.replace("3.0", "NaN"), "fd_made_up is not finite")):
        path.write_text(damage)
        with pytest.raises(ValueError, match=rf"{path.name}: not a measurement: {words}.*measure again"):
            compare_entries(["mdm-micro"])


def test_the_curve_counts_every_row_of_every_level(tmp_path):
    from builders.training.json_log import JsonLog
    from builders.training.start import train

    train(load_recipe("micro-test"), tmp_path / "runs" / "one", observer=JsonLog())
    (row,) = compare_entries(["mdm-micro"]).rows
    # 8 steps of 8 rows at 8 pixels, then 6 of 4 rows at 16 around 8 rows at 8; training is three times the forward.
    flops = {level.label: 3 * level.flops for level in zoo.get("mdm-micro").card().levels}
    inner = 8 * 8 * flops["r8"]
    step = 4 * flops["r16"] + 8 * flops["r8"]
    assert row.curve is not None and [x for x, _ in row.curve.points] == [inner + 4 * step, inner + 6 * step]


def test_a_damaged_log_gives_the_curve_that_is_left(tmp_path):
    entry = zoo.get("mdm-micro")
    recipe = load_recipe("micro-test")
    folder = tmp_path / "runs" / "x"
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text(recipe.model_dump_json())
    save_weights(folder / "ema.safetensors", entry.architecture, entry.build().state_dict(), {})
    good = '{"step": 1, "phase": "p16", "loss": {}}\n{"step": 1, "held_out_v_loss": {"r16": 0.5}}\n'
    odd = b'7\n\xff\xfe\n{"loss": {}, "phase": "zz"}\n{"held_out_v_loss": 3}\n{"held_out_v_loss": {"r16": "x"}}\n{"st'
    (folder / "log.jsonl").write_bytes(good.encode() + odd)
    curve = training_curve(entry, tmp_path / "runs")
    assert curve is not None and [value for _, value in curve.points] == [0.5]


def test_a_table_without_rows_has_its_columns(tmp_path):
    (path,) = (path for path in write_tables(tmp_path / "tables") if path.stem == "measured")
    assert path.read_text().startswith("entry,hash,weights,metric,value,low,high,conditions,features,")


def test_tables(tmp_path):
    save(measurement("mdm-micro", 3.0))
    paths = write_tables(tmp_path / "tables")
    rows = {path.stem: list(csv.DictReader(path.read_text().splitlines())) for path in paths}
    assert [row["entry"] for row in rows["costs"]] == zoo.list()
    assert {row["parameters"] for row in rows["costs"] if row["entry"] == "mdm-s64"} == {"461359107"}
    assert {(row["metric"], row["value"]) for row in rows["measured"]} >= {("fd_made_up", "3.0")}
    assert {row["entry"] for row in rows["reported"]} >= {"mdm-s256.in1k"}
    levels = [row for row in rows["levels"] if row["entry"] == "mdm-s1024"]
    assert sum(int(row["parameters"]) for row in levels) == 480_970_057


@pytest.mark.parametrize(
    ("base", "like", "by", "inner", "within"),
    [
        ("flat-n32", "flat-n32-wide", "flops", False, 0.01),
        ("flat-n32", "mdm-nano", "parameters", False, 0.15),
        ("doll-n32", "flat-n32-wide", "parameters", True, 0.1),
        ("unetpp-s64", "mdm-s64", "flops", False, 0.05),
    ],
)
def test_match(base, like, by, inner, within):
    found = match(base, like, by, inner=inner)
    assert found.ratio == pytest.approx(1, abs=within)
    # What is printed loads, and costs what is said.
    graph = load_text(found.yaml).graph
    assert graph.hash == found.graph.hash
    from registry.costs.card import make_card

    assert getattr(make_card(graph), by) == found.cost


def test_match_of_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nresolution: 32\nstages: {r32: {width: 32, depth: 1}, r16: {width: 64, depth: 1}}\n")
    found = match(str(path), "flat-n32", "parameters")
    assert load_text(found.yaml).graph.hash == found.graph.hash and 0.8 < found.ratio < 1.2


def test_one_bad_file_does_not_hide_the_others(cli, tmp_path, monkeypatch):
    (tmp_path / "bad.yaml").write_text("name: bad\nresolution: 16\nstagez: {}\n")
    monkeypatch.setenv("ZOO_PATH", str(tmp_path))
    code, out, err = cli("list", "--depth", "2", "--plain")
    assert code == 0 and "mdm-micro" in out.split() and "bad" not in out.split()
    assert err == "warning: entry 'bad' is left out: it cannot be read; run 'zoo check bad' to see why\n"
    code, out, err = cli("results", "-o", "tables")
    assert code == 0 and "entry 'bad' is left out" in err


def test_match_is_the_nearest():
    found = match("flat-n32", "doll-n32-wide")
    target = zoo.get("doll-n32-wide").card().flops
    for width in range(8, 128, 8):
        changed = [f"stages.r32.width={width}", f"stages.r16.width={width}", f"stages.r8.width={2 * width}"]
        other = zoo.get("flat-n32", changed).card().flops
        assert abs(found.cost - target) <= abs(other - target)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["flat-n32", "--like", "nope"], "no entry is called 'nope'"),
        (["flat-n32", "--like", "mdm-s64", "--by", "time"], "no cost 'time'; there are flops and parameters"),
        (["mdm-s256", "--like", "mdm-micro"], "--inner scales the inner levels too"),
    ],
)
def test_match_mistakes(cli, arguments, message):
    code, out, err = cli("match", *arguments)
    assert (code, out) == (2, "") and message in err
