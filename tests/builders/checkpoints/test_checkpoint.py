"""Checkpoints: written atomically, verified when read, and loaded completely or not at all."""

from __future__ import annotations

import errno
import json
import os
import struct
from pathlib import Path

import pytest
import torch

from builders.checkpoints.tensor_file import CheckpointError, read_tensors, write_tensors
from builders.checkpoints.weights import load_checkpoint, save_weights
from builders.networks.nested_unet import NestedUNet, build_model
from specs.load import load_entry, load_text


@pytest.fixture(scope="module")
def model() -> NestedUNet:
    torch.manual_seed(0)
    model = build_model(load_entry("mdm-micro").graph)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@pytest.fixture
def path(model: NestedUNet, tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    save_weights(path, model.graph, model.state_dict(), {"data": "noto-emoji-64", "step": 7})
    return path


def test_what_is_written_is_read(model: NestedUNet, path: Path) -> None:
    loaded, facts = load_checkpoint(path)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())
    z = [torch.randn(1, 3, 16, 16), torch.randn(1, 3, 8, 8)]
    for a, b in zip(model(z, 3), loaded(z, 3), strict=True):
        assert torch.equal(a, b)
    assert not loaded.training
    assert facts["entry"] == "mdm-micro" and facts["data"] == "noto-emoji-64" and facts["step"] == "7"
    assert (facts["hash"], facts["graph_hash"]) == (model.graph.hash, model.graph.graph_hash)
    assert load_text(facts["spec"]).graph.hash == model.graph.hash
    assert json.loads(facts["versions"])["torch"] == torch.__version__.partition("+")[0]


def test_any_safetensors_reader_reads_it(model: NestedUNet, path: Path) -> None:
    from safetensors.torch import load_file

    assert load_file(path).keys() == model.state_dict().keys()


def test_odd_tensors_survive(tmp_path: Path) -> None:
    tensors = {
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
        "half": torch.randn(3, 2).bfloat16(),
        "whole": torch.arange(4),
        "strided": torch.randn(4, 6).t(),
    }
    write_tensors(tmp_path / "odd.safetensors", tensors, {"kind": "state"})
    read, _ = read_tensors(tmp_path / "odd.safetensors")
    assert all(torch.equal(read[name], value) and read[name].dtype == value.dtype for name, value in tensors.items())


@pytest.mark.parametrize("place", [0.5, 0.9, 0.999])
def test_a_flipped_bit_is_seen(path: Path, place: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize("keep", [0, 5, 200, 20_000, -1])
def test_a_truncated_file_is_seen(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: truncated"):
        load_checkpoint(path)


def test_changed_metadata_is_seen(path: Path) -> None:
    _edit_header(path, '"step":"7"', '"step":"8"')
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


def test_equal_contents_give_equal_files(model: NestedUNet, path: Path) -> None:
    again = path.with_name("again.safetensors")
    save_weights(again, model.graph, model.state_dict(), {"step": 7, "data": "noto-emoji-64"})
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"junk", b"\x80\x04K\x01.", b"PK\x03\x04" + b"\0" * 100])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"other\.safetensors"):
        load_checkpoint(path)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(CheckpointError, match="no such checkpoint"):
            load_checkpoint(path)


def test_safetensors_of_others_are_named_as_such(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "plain.safetensors")
    with pytest.raises(CheckpointError, match="not a checkpoint of this zoo"):
        load_checkpoint(tmp_path / "plain.safetensors")


def test_another_architecture_is_listed(model: NestedUNet, tmp_path: Path) -> None:
    tensors = dict(model.state_dict())
    first, second, *_ = tensors
    tensors["levels.r16.extra.weight"] = tensors.pop(first)
    tensors[second] = torch.zeros(3, 3)
    path = tmp_path / "wrong.safetensors"
    save_weights(path, model.graph, tensors)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert f"missing {first}" in message and "unknown levels.r16.extra.weight" in message
    assert f"{second} is (3, 3), not" in message


def test_expected_entry(model: NestedUNet, path: Path) -> None:
    load_checkpoint(path, expected=model.graph)
    with pytest.raises(CheckpointError, match="holds mdm-micro with graph hash"):
        load_checkpoint(path, expected=load_entry("mdm-nano").graph)


def test_state_is_not_taken_for_weights(tmp_path: Path) -> None:
    write_tensors(tmp_path / "state.safetensors", {"a": torch.zeros(1)}, {"kind": "state"})
    with pytest.raises(CheckpointError, match="not weights"):
        load_checkpoint(tmp_path / "state.safetensors")


def test_full_disk_leaves_the_old_file(path: Path, model: NestedUNet, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save_weights(path, model.graph, model.state_dict())
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name], "a temporary file was left behind"


def test_folder_that_cannot_be_written(model: NestedUNet, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_weights(tmp_path / "file" / "weights.safetensors", model.graph, model.state_dict())


def test_others_may_read_the_file(path: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def _edit_header(path: Path, old: str, new: str) -> None:
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = data[8 : 8 + size].decode()
    assert old in header and len(old) == len(new)
    path.write_bytes(data[:8] + header.replace(old, new, 1).encode() + data[8 + size :])
