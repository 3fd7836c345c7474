"""``zoo convert``: a published configuration and a checkpoint with foreign objects to a spec and safetensors."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch
import yaml

import zoo
from builders import published
from builders.checkpoints.weights import load_checkpoint
from tests.helpers.golden_formula import parameter
from tests.helpers.paths import GOLDEN
from zoo.cli import run

CASES = json.loads((GOLDEN / "unet.json").read_text())


class Configuration:
    """Of a class that the converter does not know."""

    def __init__(self, values: dict) -> None:
        self.values = values


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A configuration and a checkpoint of a nested published network, as their authors save them."""
    monkeypatch.chdir(tmp_path)
    case = min((case for case in CASES if len(case["batches"]) > 1), key=lambda case: len(case["state_dict"]))
    state = {key: parameter(key, shape) for key, shape in case["state_dict"].items()}
    Path("My Net.json").write_text(json.dumps(case["config"]))
    holder = {"state_dict": state, "args": argparse.Namespace(c=Configuration(case["config"])), "optimizer": {"a": 1}}
    torch.save(holder, "net.pth")
    return case, state


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_convert(files, form, capsys):
    case, state = files
    config = Path("My Net.json")
    if form == "yaml":
        config = Path("My Net.yaml")
        config.write_text(yaml.safe_dump(case["config"]))
    assert run(["convert", str(config), "net.pth", "-o", "out/deep"]) == 0, capsys.readouterr().err
    folder = Path("out/deep")
    assert sorted(path.name for path in folder.iterdir()) == ["My-Net.safetensors", "My-Net.yaml"]

    # The spec is the one the library reads, and a user can load it; it takes the text width from the weights.
    expected = published.from_config(case["config"], text_width=case["text_dim"])
    entry = zoo.get(folder / "My-Net.yaml")
    assert entry.graph_hash == expected.graph.graph_hash
    model = zoo.build(expected)
    published.load_state_dict(model, state)
    loaded, metadata = load_checkpoint(folder / "My-Net.safetensors")
    weights = loaded.state_dict()
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())
    assert metadata["graph_hash"] == entry.graph_hash and metadata["hash"] == entry.hash


def test_name_and_overwriting(files):
    for _ in range(2):
        assert run(["convert", "My Net.json", "net.pth", "-o", ".", "--name", "other"]) == 0
    assert zoo.get("./other.yaml").name == "other"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"config": "[1, 2]"}, "mapping"),
        ({"config": "{"}, "not JSON"),
        ({"config": "{}"}, "resolution_channels"),
        ({"config": "{" + '"a": {' * 100_000}, "not JSON"),
        ({"drop": True}, "missing"),
        ({"extra": True}, "unknown"),
        ({"shape": True}, "shape"),
        ({"name": "a b!"}, "a b!"),
        ({"state_dict": "emma"}, "emma"),
        ({"output": "net.pth"}, "net.pth"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_mistakes(files, capsys, change, words):
    _, state = files
    if "config" in change:
        Path("My Net.json").write_text(change["config"])
    first = next(iter(state))
    if "drop" in change:
        del state[first]
    if "extra" in change:
        state["nonsense.weight"] = torch.ones(2)
    if "shape" in change:
        state[first] = torch.ones(2, 2)
    torch.save(state if "state_dict" not in change else {"state_dict": state}, "net.pth")
    options = [f"--{key.replace('_', '-')}={change[key]}" for key in ("name", "state_dict") if key in change]
    code = run(["convert", "My Net.json", "net.pth", "-o", change.get("output", "out"), *options])
    captured = capsys.readouterr()
    assert code == 2 and words in captured.err and "Traceback" not in captured.err
    assert not Path("out").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(files, capsys, value):
    _, state = files
    name = list(state)[3]
    state[name] = torch.full_like(state[name], value)
    torch.save(state, "bad.pth")
    assert run(["convert", "My Net.json", "bad.pth", "-o", "out"]) == 2
    assert capsys.readouterr().err.startswith(f"error: bad.pth: {name} holds NaN or infinity; ")
    assert not Path("out").exists()


def test_files_of_other_kinds_are_named(files, capsys):
    for content, words in ((b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"), (b"", "an empty file")):
        Path("bad.pth").write_bytes(content)
        assert run(["convert", "My Net.json", "bad.pth", "-o", "out"]) == 2
        assert words in capsys.readouterr().err
    assert run(["convert", "My Net.json", ".", "-o", "out"]) == 2
    assert capsys.readouterr().err == "error: .: not a file\n"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"a": 1}, "c.json: the field resolution_channels is missing; is this a published network config?"),
        ({"resolution_chanels": [32]}, "is it misspelled as 'resolution_chanels'?"),
    ],
)
def test_a_missing_field_is_reported_with_the_file(files, capsys, config, message):
    Path("c.json").write_text(json.dumps(config))
    assert run(["convert", "c.json", "net.pth", "-o", "out"]) == 2
    assert message in capsys.readouterr().err
