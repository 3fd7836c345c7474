"""The demo, with a recipe of a few steps."""

from __future__ import annotations

import json

import pytest
from PIL import Image

import zoo.commands.demo as demo
from builders.training.loop import Interrupted
from zoo.cli import run

pytestmark = pytest.mark.usefixtures("light_measures")


def interrupted(*args, **kwargs):
    raise Interrupted


def test_demo_trains_samples_logs_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(demo, "RECIPE", "micro-test")
    draw = demo.sample
    monkeypatch.setattr(demo, "sample", lambda *args, **options: draw(*args, **{**options, "steps": 2}))
    assert demo.demo() == 0
    printed = capsys.readouterr().out
    assert "8 pixels (8 steps), then 16 pixels (6 steps)" in printed
    assert "What to type next" in printed and "mlflow ui" in printed
    assert "of experiment matryoshka-zoo in sqlite:///" in printed
    with Image.open(tmp_path / "runs/demo/samples.png") as grid:
        assert grid.width > 400
    from mlflow.tracking import MlflowClient

    facts = json.loads((tmp_path / "runs/demo/mlflow.json").read_text())
    client = MlflowClient(tracking_uri=facts["uri"])
    run = client.get_run(facts["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["per_level/params.whole"] == 149318
    assert len(client.get_metric_history(facts["run_id"], "loss/r8")) == 14
    assert [file.path for file in client.list_artifacts(facts["run_id"], "samples")] == ["samples/samples.png"]
    # A second call finds everything trained and draws the same samples.
    first = (tmp_path / "runs/demo/samples.png").read_bytes()
    assert demo.demo(quiet=True, track=False) == 0
    assert (tmp_path / "runs/demo/samples.png").read_bytes() == first


def test_an_interrupted_demo_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "RECIPE", "micro-test")
    words = ["demo", "--output", str(tmp_path / "a b"), "--no-track", "-q"]
    monkeypatch.setattr("sys.argv", ["zoo", *words])
    monkeypatch.setattr("builders.training.start.train", interrupted)
    assert run(words) == 130
    assert f"To resume: zoo demo --output '{tmp_path}/a b' --no-track -q" in capsys.readouterr().err
