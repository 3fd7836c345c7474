"""Training curves read from the logs of runs."""

from __future__ import annotations

import pytest

import zoo
from builders.checkpoints.weights import save_weights
from registry.comparison.curves import training_curve
from specs.recipe import load_recipe


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
