"""``zoo average``: weights of another length, the choice by the validation loss, and its messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.checkpoints.weights import read_weights
from tests.helpers.averaged import grown

NONE = "the run has saved no averages; train with --set averages.every=100 in another --output"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("averaged") / "run"
    grown("validation={samples: 2, draws: 1}", folder=folder)
    return folder


def test_weights_of_a_length(cli, run):
    code, text, error = cli("average", run, "--length", "0.1")
    assert (code, error, text) == (0, "", f"wrote {run / 'average-0.1.safetensors'}\n")
    tensors, graph, facts = read_weights(run / "average-0.1.safetensors")
    assert facts["average"] == "0.1" and graph.labels == ("r16", "r8") and tensors
    code, text, error = cli("average", run, "-l", "0.02", "-o", "mine.safetensors")
    assert code == 0 and text == "wrote mine.safetensors\n"
    assert error.startswith("warning: the averages that were saved make one of length 0.02 with an error of ")


def test_best_length_is_chosen(cli, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    code, text, _ = cli("average", run, "-l", "0.2", "-l", "0.1", "--device", "cpu")
    head, *rows, last = text.splitlines()
    assert code == 0 and head.split() == ["length", "val_v_loss/r16", "val_v_loss/r8", "error"]
    losses = {row.split()[0]: float(row.split()[1]) for row in rows}
    assert set(losses) == {"0.1", "0.2"} and len(set(losses.values())) == 2
    assert last == f"wrote {run / f'average-{min(losses, key=losses.get)}.safetensors'}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "nowhere: no such folder; give the folder of a run"),
        (
            (".", "-l", "0.1"),
            ".: the run has saved no averages; train with --set averages.every=100 in another --output",
        ),
        ((".",), "recipe.json: no such file; the folder of a run has one"),
        ((".", "-l", "0.3"), "--length: the length of an average is from 0.005 to 0.288, not 0.3"),
    ],
)
def test_errors(cli, arguments, message):
    assert cli("average", *arguments) == (2, "", f"error: {message}\n")
