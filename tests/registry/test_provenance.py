"""The metadata of weights of others: neither fetched nor opened. That of one's own runs: used, without downloads."""

from __future__ import annotations

import json
import socket

import pytest
import torch

import zoo
from builders.checkpoints.weights import save_weights
from builders.text.encoder import TextEncoderError
from registry.evaluation.features import EvaluationError
from registry.evaluation.measure import measure
from registry.provenance import OwnMetadata
from registry.weights import load_weights, text_encoder, training_data
from specs.schemas.evaluation import EvaluationSpec
from tests.helpers.shards import samples, write_tar
from tests.helpers.web import send, serving

SPEC = EvaluationSpec(samples=2, num_inference_steps=1)


def weights(folder, entry="mdm-micro", **metadata):
    model = zoo.build(entry)
    folder.mkdir(exist_ok=True)
    save_weights(folder / "w.safetensors", model.graph, model.state_dict(), metadata)
    return folder / "w.safetensors"


def as_a_run(folder):
    for name in ("state.safetensors", "recipe.json"):
        (folder / name).write_bytes(b"")


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """Every connection and every dataset that is opened, as a list."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    found = []
    real = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", lambda self, place: (found.append(place), real(self, place)))
    from builders.data import open as opening

    def find(what, **options):
        found.append(str(what))
        return opening_find(what, **options)

    opening_find = opening.find_dataset
    monkeypatch.setattr(opening, "find_dataset", find)
    return found


def shard(tmp_path):
    return write_tar(tmp_path / "mine.tar", [m for letter in "abcdefghij" for m in named(letter)])


def named(letter):
    return [(letter + name, content) for name, content in samples(1, category=letter)]


@pytest.mark.parametrize("nearest", ["--nearest", "--no-nearest"])
@pytest.mark.parametrize("form", ["address", "mixture", "path", "plain"])
def test_data_that_a_file_names_is_not_opened(cli, tmp_path, no_network, nearest, form):
    local = str(shard(tmp_path))
    with serving(lambda handler: send(handler, b"")) as (host, asked):
        address = f"http://{host}/x.tar?who=victim"
        data = {"address": address, "mixture": {address: 1.0, local: 1.0}, "path": local, "plain": address}[form]
        facts = {"data": address} if form == "plain" else {"recipe": {"data": data}, "data": "noto-emoji-64"}
        path = weights(tmp_path / "from-elsewhere", **facts)
        options = ["--steps", 1, "-n", 1, "--device", "cpu", "-o", "out.png", nearest]
        code, _, err = cli("sample", path, "-c", "3", *options)
        assert code == 0 and no_network == [] and asked == []
        assert ("which is not opened unless you name it: --data" in err) == (nearest == "--nearest")
        assert "victim" not in err
        with pytest.raises(EvaluationError, match=r"names the data .*, which is not opened unless you name it"):
            measure(str(path), SPEC, folder=tmp_path / "results")
        assert no_network == [] and asked == []


def test_the_user_may_name_the_data(cli, tmp_path):
    path = weights(tmp_path / "from-elsewhere", data="/nowhere.tar")
    options = ["--steps", 1, "-n", 1, "--device", "cpu", "-o", "out.png"]
    code, _, err = cli("sample", path, "-c", "d", "--data", shard(tmp_path), *options)
    assert code == 0, err


def test_data_of_a_run_of_ones_own_is_opened_but_not_downloaded(tmp_path, no_network):
    path = weights(tmp_path / "run", recipe={"data": str(shard(tmp_path))})
    assert training_data(load_weights(path)[1]) is None
    as_a_run(path.parent)
    assert training_data(load_weights(path)[1]).classes == tuple("abcdefghij")
    no_network.clear()
    with serving(lambda handler: send(handler, b"")) as (host, asked):
        path = weights(tmp_path / "run", recipe={"data": f"http://{host}/x.tar"})
        assert training_data(load_weights(path)[1]) is None and asked == []
    assert training_data(load_weights("mdm-nano")[1]).card.name == "noto-emoji-64"


@pytest.mark.parametrize("name", ["attacker/t5-small", "folder"])
def test_a_text_encoder_that_a_file_names_is_not_opened(cli, tmp_path, no_network, monkeypatch, name):
    import transformers

    called = []

    def from_pretrained(name, *given, **options):
        called.append((name, options["local_files_only"], options["trust_remote_code"]))
        raise OSError("not here")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", from_pretrained)
    name = str(tmp_path) if name == "folder" else name
    path = weights(tmp_path / "from-elsewhere", "mdm-micro.text", recipe={"text_encoder": name}, data="noto-emoji-64")
    code, _, err = cli("sample", path, "-p", "a cat", "--steps", 1, "--device", "cpu", "--no-nearest", "-o", "out.png")
    assert code == 2 and "is not opened unless you name it: --text-encoder" in err and called == []
    with pytest.raises(TextEncoderError, match="not opened unless you name it"):
        measure(str(path), SPEC, folder=tmp_path / "results")
    as_a_run(path.parent)
    model, metadata = load_weights(path)
    with pytest.raises(TextEncoderError, match="neither a folder nor in the download cache|no T5 encoder"):
        text_encoder(model, metadata)
    # In the folder of its run it is opened, from disk only; no code of it is run.
    assert called == [(name, True, False)] and not any(isinstance(place, tuple) for place in no_network)


@pytest.mark.parametrize("recipe", ["[]", "null", "1", '"x"', "[" * 100_000, '{"data": [1]}', '{"data": {"a": "x"}}'])
def test_metadata_of_any_shape(tmp_path, recipe):
    for metadata in ({"recipe": recipe}, OwnMetadata(recipe=recipe)):
        assert training_data(metadata) is None
        model = zoo.build("mdm-micro.text")
        assert text_encoder(model, metadata).name == "embedded"
    assert torch.is_tensor(next(model.parameters()))
    assert json.dumps(metadata)
