"""``zoo sample``: what it draws, what it writes, what it refuses."""

from __future__ import annotations

import os

import pytest
import torch
from PIL import Image

import zoo
from builders import generation
from builders.checkpoint import save_weights, write_tensors
from registry.weights import find_weights
from zoo.commands import sample as command


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint of mdm-micro that says it was trained on the emoji, and a newer state beside it."""
    model = zoo.build("mdm-micro")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.05, generator=torch.Generator().manual_seed(parameter.numel()))
    path = tmp_path / "weights.safetensors"
    save_weights(path, model.graph, model.state_dict(), {"data": "noto-emoji-64"})
    write_tensors(tmp_path / "state.safetensors", model.state_dict(), {"kind": "state"})
    os.utime(path, (0, 0))
    return path


def run(checkpoint, **options):
    return command.sample_command(str(checkpoint), **({"steps": 2, "device": "cpu"} | options))


def test_grid(checkpoint, tmp_path):
    path = run(checkpoint, out=tmp_path / "grid.png", count=1)
    assert path == tmp_path / "grid.png" and Image.open(path).width > 300
    # The same seed, the same picture; a folder finds its newest weights.
    again = command.sample_command(str(tmp_path), steps=2, count=1, out=tmp_path / "again.png", device="cpu")
    assert again.read_bytes() == path.read_bytes()


def test_folder_of_images(checkpoint, tmp_path):
    path = run(checkpoint, out=tmp_path / "out", classes=["flags", "food"], count=2, seed=5, sampler="ddpm")
    assert path == tmp_path / "out" / "grid.png"
    names = {file.name for file in path.parent.iterdir()} - {"grid.png"}
    words = ["flags-5", "flags-6", "food-drink-7", "food-drink-8"]
    assert names == {f"{word}-{label}.png" for word in words for label in ("r16", "r8")}
    assert Image.open(tmp_path / "out" / "flags-5-r8.png").size == (8, 8)


def test_batches_do_not_change_samples(checkpoint, tmp_path, monkeypatch):
    whole = run(checkpoint, out=tmp_path / "whole", classes=["flags"], count=3)
    monkeypatch.setattr(generation, "BATCH_PIXELS", 2 * 16**2)
    parts = run(checkpoint, out=tmp_path / "parts", classes=["flags"], count=3)
    for file in whole.parent.glob("flags-*.png"):
        first, second = (torch.tensor(list(Image.open(p / file.name).tobytes())) for p in (whole.parent, parts.parent))
        assert (first - second).abs().max() <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["flag"]}, "did you mean 'Flags'"),
        ({"count": 0}, "--count"),
        ({"steps": 0}, "from 1 to 1000"),
        ({"sampler": "euler"}, "no sampler 'euler'"),
        ({"device": "nonsense"}, "--device nonsense"),
    ],
)
def test_refusals(checkpoint, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        run(checkpoint, out=tmp_path / "grid.png", **options)
    assert not (tmp_path / "grid.png").exists()


def test_weights_that_are_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"x\.safetensors: no such checkpoint"):
        find_weights("x.safetensors")
    with pytest.raises(ValueError, match="no weights"):
        find_weights(str(tmp_path))
    with pytest.raises(ValueError, match="mdm-s1024 comes without weights"):
        find_weights("mdm-s1024")
    with pytest.raises(LookupError, match="mdm-nan"):
        find_weights("mdm-nan")


def test_shares_of_classes():
    assert generation.class_shares([1, 1, 2], 8) == (0, 0, 1, 1, 2, 2, 2, 2)
    assert generation.class_shares([5, 0, 1], 4) == (0, 0, 0, 2)
    assert len(generation.class_shares([3, 7, 11, 13], 100)) == 100


def test_prompts(tmp_path):
    pytest.importorskip("wordllama")
    options = {"steps": 3, "count": 2, "device": "cpu", "nearest": False}
    path = command.sample_command("mdm-nano.text", prompts=["a red apple"], out=tmp_path / "a", **options)
    assert {file.name for file in path.parent.glob("*-r64.png")} == {"a-red-apple-0-r64.png", "a-red-apple-1-r64.png"}
    other = command.sample_command("mdm-nano.text", prompts=["a blue whale"], out=tmp_path / "b", **options)
    assert (other.parent / "a-blue-whale-0-r64.png").read_bytes() != (
        path.parent / "a-red-apple-0-r64.png"
    ).read_bytes()
    with pytest.raises(ValueError, match=r"mdm-nano\.text reads text: say what to draw with --prompt"):
        command.sample_command("mdm-nano.text", out=tmp_path / "c.png", device="cpu")
    with pytest.raises(ValueError, match="mdm-nano reads no text and takes no --prompt"):
        command.sample_command("mdm-nano", prompts=["x"], out=tmp_path / "c.png", device="cpu")
