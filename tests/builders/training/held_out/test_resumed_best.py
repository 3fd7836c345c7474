"""Best weights: losses that were measured in different ways are not compared."""

from __future__ import annotations

import json
import shutil

from builders.checkpoints.tensor_file import read_tensors, write_tensors
from builders.training.json_log import JsonLog
from builders.training.retention import best_weights, keep_best
from builders.training.start import train
from specs.recipe import load_recipe
from specs.schemas.held_out import LOG_SNRS
from tests.helpers.paths import GOLDEN


def write(path, **facts):
    path.parent.mkdir(exist_ok=True)
    write_tensors(path, {}, facts)


def test_only_losses_of_one_protocol_are_compared(tmp_path):
    def keep(step, loss, protocol):
        facts = {"validation": protocol} if protocol else {}
        return keep_best(tmp_path, "p8", step, loss, 1, lambda path: write(path, **facts), protocol)

    assert keep(1, 0.1, "") and keep(2, 0.5, "keyed")  # the first is lower, in another way
    assert keep(3, 0.6, "keyed") is None and keep(4, 0.4, "keyed")
    assert [loss for loss, _ in best_weights(tmp_path, "p8")] == [0.1, 0.4]
    assert keep(5, 0.2, "") is None


def test_a_run_of_0_1_begins_its_best_weights_again(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_PATH", str(GOLDEN / "run-0.1" / "zoo_path"))
    folder = tmp_path / "run"
    shutil.copytree(GOLDEN / "run-0.1" / "run", folder)
    name, old = "best-p16-000000007-1.000000e-09.safetensors", folder / "checkpoints"
    old.mkdir(exist_ok=True)
    write(old / name)
    train(load_recipe("tiny-run"), folder, observer=JsonLog())
    best = [path for _, path in best_weights(folder, "p16")]
    assert [path.name for path in best if path.name == name] and len(best) == 2
    assert read_tensors(best[-1])[1]["validation"] == "keyed, 2 draws, 5000 samples"
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    (errors,) = (record["val_error_by_log_snr"] for record in records if "val_error_by_log_snr" in record)
    assert set(errors) <= {f"{label}/{ratio:g}" for label in ("r16", "r8") for ratio in LOG_SNRS} and len(errors) > 12
