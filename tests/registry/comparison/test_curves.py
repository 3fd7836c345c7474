"""Training curves read from the logs of runs."""

from __future__ import annotations

import os

import pytest

import zoo
from builders.checkpoints.weights import save_weights
from registry.comparison.curves import training_curve, training_curves
from specs.recipe import load_recipe
from tests.helpers.runs import write_run

pytestmark = pytest.mark.usefixtures("light_measures")


@pytest.mark.slow
def test_the_curve_counts_every_row_of_every_level(tmp_path, images):
    from builders.training.json_log import JsonLog
    from builders.training.start import train

    train(load_recipe("micro-test", [f"data={images}"]), tmp_path / "runs" / "one", observer=JsonLog())
    curve = training_curve(zoo.get("mdm-micro"), tmp_path / "runs")
    # 8 steps of 8 rows at 8 pixels, then 6 of 4 rows at 16 around 8 rows at 8; training is three times the forward.
    flops = {level.label: 3 * level.flops for level in zoo.get("mdm-micro").card().levels}
    inner = 8 * 8 * flops["r8"]
    step = 4 * flops["r16"] + 8 * flops["r8"]
    assert curve is not None and [x for x, _ in curve.points] == [inner + 4 * step, inner + 6 * step]


def test_all_levels_of_all_runs(tmp_path):
    entry = zoo.get("mdm-micro")
    losses = [(1, {"r8": 0.9}), (2, {"r8": 0.5, "r16": 0.7})]
    for number, name in enumerate(("old", "study/new", "other")):
        trained = zoo.get("flat-n32") if name == "other" else entry
        write_run(tmp_path / name, trained, losses)
        os.utime(tmp_path / name / "log.jsonl", (number, number))
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "log.jsonl")
    curves = training_curves(entry, tmp_path)
    assert [(curve.run, curve.level, len(curve.points)) for curve in curves] == [
        *[("study/new", "r16", 1), ("study/new", "r8", 2), ("old", "r16", 1), ("old", "r8", 2)]
    ]
    assert training_curve(entry, tmp_path) == curves[0]


@pytest.mark.parametrize("metric", ["val_v_loss", "held_out_v_loss"])  # the second is the name in version 0.1
def test_a_damaged_log_still_has_a_curve(tmp_path, metric):
    entry = zoo.get("mdm-micro")
    recipe = load_recipe("micro-test")
    folder = tmp_path / "runs" / "x"
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text(recipe.model_dump_json())
    save_weights(folder / "ema.safetensors", entry.architecture, entry.build().state_dict(), {})
    good = '{"step": 1, "phase": "p16", "loss": {}}\n{"step": 1, "val_v_loss": {"r16": 0.5}}\n'
    odd = b'7\n\xff\xfe\n{"loss": {}, "phase": "zz"}\n{"val_v_loss": 3}\n{"val_v_loss": {"r16": "x"}}\n{"st'
    log = good.encode() + odd
    (folder / "log.jsonl").write_bytes(log.replace(b"val_v_loss", metric.encode()))
    curve = training_curve(entry, tmp_path / "runs")
    assert curve is not None and [value for _, value in curve.points] == [0.5]
