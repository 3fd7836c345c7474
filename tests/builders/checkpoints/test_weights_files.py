"""Files that hold no weights are named with what to do; weights that are not finite are refused by name."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from builders.checkpoints.file_kinds import describe_weights
from builders.checkpoints.header import MAX_HEADER, CheckpointError, read_metadata
from builders.checkpoints.shipped import file_facts
from builders.checkpoints.tensor_file import first_not_finite, read_tensors, write_tensors
from builders.checkpoints.weights import halve_weights, load_checkpoint, read_weights, save_weights
from builders.networks.nested_unet import build_model
from builders.published.state_dict import parameter_names
from builders.published.torch_archive import ArchiveError, read_state_dict
from builders.training.initialize import check_shared, weights_file
from builders.training.run_folder import RunFolder
from builders.training.state import RunProgress
from registry.weights import find_weights
from specs.load import load_entry
from specs.recipe import load_recipe_and_graph


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def saved(**options):
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, buffer, **options)
    return buffer.getvalue()


def arrays():
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    return buffer.getvalue()


FILES = {
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "Git LFS", "git lfs pull"),
    "empty": (b"", "an empty file", "download it again"),
    "page": (b"\n <!DOCTYPE HTML><html>log in", "a web page", "download it again"),
    "bom": ("\ufeff<html>".encode(), "a web page", "download it again"),
    "denied": (b"<?xml version='1.0'?><Error>AccessDenied", "a web page", "logging in"),
    "npz": (arrays(), "arrays of NumPy", "torch.save"),
    "npy": (b"\x93NUMPY\x01\x00", "a NumPy array", "torch.save"),
    "zip": (zipped(**{"net/model.pth": b"x"}), "a zip file", "unpack it and give 'net/model.pth'"),
    "script": (zipped(**{"net/code/x.py": b"", "net/data.pkl": b""}), "TorchScript", "state_dict"),
    "gz": (gzip.compress(b"x" * 999), "gzip", "decompress it"),
    "pickle": (pickle.dumps({"a": 1}, protocol=4), "a pickle", "torch.save"),
    "pickle0": (pickle.dumps({"a": 1}, protocol=0), "a pickle", "torch.save"),
    "legacy": (saved(_use_new_zipfile_serialization=False), "pickle format of torch before 1.6", "torch.save"),
    "hdf": (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "torch.save"),
    "gguf": (b"GGUF\x03\0\0\0", "a GGUF file", "torch.save"),
    "json": (b'{"resolution_channels": [1]}', "a JSON file", "give the weights"),
    "yaml": (b"name: x\nresolution: 8\n", "a text file", "give the weights"),
    "image": (b"\x89PNG\r\n\x1a\n", "an image", "give the weights"),
    "zeros": (b"\0" * 600, "a file of zeros", "download it again"),
    "cut": (saved()[:200], "truncated or damaged zip file", "download it again"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_other_kinds_are_named(name, tmp_path):
    content, kind, action = FILES[name]
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    for read in (read_metadata, read_tensors, load_checkpoint):
        with pytest.raises(CheckpointError) as caught:
            read(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: truncated or not a safetensors file: this is ") and "\n" not in message
        assert kind in message and action in message
    if name not in ("cut", "script"):
        with pytest.raises(ArchiveError) as refused:
            read_state_dict(path)
        assert kind in str(refused.value) and "\n" not in str(refused.value)


def test_checkpoints_of_torch_are_sent_to_convert(tmp_path):
    for name in ("net.pth", "net.ckpt", "net.PT", "net.bin"):
        (tmp_path / name).write_bytes(saved())
        with pytest.raises(ValueError, match="a checkpoint of torch; 'zoo convert CONFIG FILE'"):
            find_weights(tmp_path / name)
    with pytest.raises(
        ValueError, match=r"no weights \(.safetensors\) in this folder; net.pth is a checkpoint of torch"
    ):
        find_weights(tmp_path)
    with pytest.raises(ArchiveError, match=r"a directory, not a checkpoint; give a file in it, such as net.bin"):
        read_state_dict(tmp_path)
    with pytest.raises(ValueError, match="no such checkpoint"):
        find_weights(tmp_path / "other.pth")
    assert describe_weights(tmp_path) == describe_weights(tmp_path / "none") == ""
    (tmp_path / "noise").write_bytes(b"\x07" * 99)
    assert describe_weights(tmp_path / "noise") == ""


def headed(path, header, size=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if size is None else size) + text)
    return path


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"__metadata__": []}, "metadata is not a mapping"),
        ({"__metadata__": 3}, "metadata is not a mapping"),
        ({"__metadata__": {"kind": 1}}, "metadata is not a mapping"),
        ({"__metadata__": {"kind": None}}, "metadata is not a mapping"),
        ({"__metadata__": {"kind": ["weights"]}}, "metadata is not a mapping"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"{" + b"\xff" * 20, "not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"{nonsense", "not JSON"),
        ({"__metadata__": {}}, "not a checkpoint of this zoo"),
        ({"__metadata__": None}, "not a checkpoint of this zoo"),
        ({}, "not a checkpoint of this zoo"),
        ({"__metadata__": {"format": "x" * 100_000}}, "not a checkpoint of this zoo"),
        ({"__metadata__": {"format": "matryoshka-zoo/1"}, "a": 3}, "truncated or not a safetensors file"),
    ],
)
def test_headers_of_any_shape_are_an_error_of_one_line(tmp_path, header, words):
    with pytest.raises(CheckpointError, match=words) as caught:
        read_tensors(headed(tmp_path / "w.safetensors", header))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_headers_of_any_size(tmp_path):
    path = tmp_path / "w.safetensors"
    for size, words in ((MAX_HEADER + 1, "at most 8,000,000 are read"), (2**63, "at most"), (5000, "truncated")):
        with pytest.raises(CheckpointError, match=words):
            file_facts(headed(path, b'{"a": 1}', size))
    with pytest.raises(CheckpointError, match="no such checkpoint: this is a folder"):
        file_facts(tmp_path)


BAD = (float("nan"), float("inf"), -float("inf"))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64])
@pytest.mark.parametrize("value", BAD)
def test_the_first_tensor_that_is_not_finite(dtype, value):
    good = {"empty": torch.zeros(0), "whole": torch.ones(3, dtype=torch.int64), "flag": torch.ones(2, dtype=torch.bool)}
    good |= {"a": torch.full((2, 3), torch.finfo(torch.float16).max).to(dtype)}
    assert first_not_finite(good) is None
    bad = torch.zeros(7, dtype=dtype)
    bad[3] = value
    assert first_not_finite({**good, "b": bad, "c": bad}) == "b"


def test_eight_bit_floats():
    values = torch.tensor([1.0, float("nan")]).to(torch.float8_e4m3fn)
    assert first_not_finite({"a": values}) == "a" and first_not_finite({"a": values[:1]}) is None


@pytest.mark.parametrize("value", BAD)
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    model = build_model(load_entry("mdm-micro").graph)
    tensors, path = dict(model.state_dict()), tmp_path / "w.safetensors"
    name = list(tensors)[5]
    tensors[name] = torch.full_like(tensors[name], value)
    save_weights(path, model.graph, tensors)
    for read in (load_checkpoint, lambda _: check_shared(model.graph, weights_file(str(path)))):
        with pytest.raises(CheckpointError, match=f"{name} holds NaN or infinity"):
            read(path)


def test_a_state_that_is_not_finite_is_not_written(tmp_path):
    recipe, graph = load_recipe_and_graph("micro-test")
    run = RunFolder(tmp_path, recipe, graph)
    phase = SimpleNamespace(progress=RunProgress("p32", 7), processes=SimpleNamespace(sharded=False))
    for name in ("model/a", "ema/b"):
        with pytest.raises(
            CheckpointError, match=f"nothing is saved: {name} holds NaN or infinity after step 7 of phase"
        ):
            run.write_state(phase, {"optimizer/x": torch.ones(2), name: torch.tensor([float("nan")])}, {})
    assert list(tmp_path.iterdir()) == []


def test_metadata_without_a_kind(tmp_path):
    path = tmp_path / "w.safetensors"
    write_tensors(path, {"a": torch.zeros(1)}, {})
    with pytest.raises(CheckpointError, match="holds a file of another kind, not weights"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, "its metadata has no spec"),
        ({"spec": "[]"}, "its spec cannot be read: "),
        ({"spec": "null"}, "its spec cannot be read: "),
        ({"spec": "3"}, "its spec cannot be read: "),
        ({"spec": "[" * 100_000}, "its spec cannot be read: "),
        ({"spec": "name: x\n" + "y: 1\n" * 100_000}, "its spec cannot be read: "),
    ],
)
def test_specs_of_any_shape_are_an_error_of_one_line(tmp_path, facts, words):
    path = tmp_path / "w.safetensors"
    write_tensors(path, {"a": torch.zeros(1)}, {"kind": "weights", **facts})
    with pytest.raises(CheckpointError, match=words) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize("number", ["9" * 5000, "\u00b2", "-1"])
def test_names_of_published_tensors_with_odd_numbers(number):
    model = build_model(load_entry("mdm-micro").graph)
    names = [f"down_blocks.{number}.resnets.0.conv1.weight", f"down_blocks.0.resnets.{number}.conv1.weight"]
    assert [ours for _, ours in parameter_names(model, dict.fromkeys(names))] == [None, None]


def test_weights_of_an_inner_level_have_the_shift_of_the_whole_entry(tmp_path):
    """Checkpoints of earlier versions have it, too: an entry of one level with a shift, which a file may not have."""
    inner = load_entry("mdm-micro", overrides=["process.shift=2"]).graph.inner("r8")
    path = tmp_path / "inner.safetensors"
    save_weights(path, inner, build_model(inner).state_dict())
    assert "shift: 2" in read_metadata(path)["spec"]
    assert load_checkpoint(path)[0].graph.process == inner.process


def test_weights_in_float16_are_the_same_network(tmp_path):
    graph = load_entry("mdm-micro").graph
    model = build_model(graph)
    save_weights(tmp_path / "whole.safetensors", graph, model.state_dict(), {"step": 3})
    halve_weights(tmp_path / "whole.safetensors", tmp_path / "half.safetensors", {"val_v_loss": {"r16": 0.5}})
    tensors, _, metadata = read_weights(tmp_path / "half.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert (metadata["step"], metadata["val_v_loss"]) == ("3", '{"r16": 0.5}')
    loaded, _ = load_checkpoint(tmp_path / "half.safetensors", graph)
    for name, value in model.state_dict().items():
        assert loaded.state_dict()[name].dtype == value.dtype
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=1e-3, atol=1e-7)


def test_weights_that_float16_cannot_hold_are_refused(tmp_path):
    graph = load_entry("mdm-micro").graph
    tensors = {name: torch.full_like(value, 7e4) for name, value in build_model(graph).state_dict().items()}
    save_weights(tmp_path / "large.safetensors", graph, tensors)
    with pytest.raises(
        CheckpointError, match=r"large.safetensors: .* holds values above 65,504, the largest of float16"
    ):
        halve_weights(tmp_path / "large.safetensors", tmp_path / "half.safetensors")
    assert not (tmp_path / "half.safetensors").exists()
