"""From video files to batches: packed, inspected, loaded; captions, labels, keys and pixels are those of the files."""

from __future__ import annotations

import tarfile

import numpy as np
import pytest
import torch

from builders.data.inspection import inspect_dataset
from builders.data.open import open_dataset
from builders.data.packing.clips.settings import ClipSettings
from builders.data.packing.pack import pack
from builders.data.packing.shard import PackSettings
from builders.data.packing.sources import PackError, find_sources
from tests.helpers.shards import samples, write_tar
from tests.helpers.videos import patterned, write_video


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Six videos of 16 pixels in two classes, with their frames by key."""
    root = tmp_path_factory.mktemp("videos")
    frames = {}
    for number in range(6):
        key = f"{('left', 'right')[number % 2]}/{number}"
        frames[key] = patterned(8, 16, 16, seed=number)
        write_video(root / f"{key}.mp4", frames[key], options={"crf": "4"}, pixels="yuv444p")
        (root / f"{key}.txt").write_text(f"caption {number}", encoding="utf-8")
    return root, frames


@pytest.fixture(scope="module")
def out(videos, tmp_path_factory):
    settings = PackSettings(resolution=16, val=False, licence="CC0", clips=ClipSettings(8, 8))
    return pack(find_sources(videos[0], videos=True), tmp_path_factory.mktemp("pack") / "out", "mine", settings).folder


def test_batches_are_the_files(videos, out):
    data = open_dataset(out).load(split="train", frames=8)
    (batch,) = data.in_order(10)
    assert batch["image"].shape == (6, 3, 8, 16, 16) and data.card.rate == 8
    assert sorted(batch["key"]) == sorted(videos[1])
    for row, key in enumerate(batch["key"]):
        number = int(key[-1])
        assert batch["caption"][row] == f"caption {number}" and batch["scale"][row] == 16
        assert data.card.classes[batch["classes"][row]] == ("left", "right")[number % 2]
        pixels = (batch["image"][row] + 1) * 127.5
        difference = pixels.permute(1, 2, 3, 0) - torch.from_numpy(videos[1][key]).float()
        assert difference.abs().mean() < 4


def test_first_frames_and_fewer_frames(videos, out):
    whole = open_dataset(out).load(split="train", frames=8).first(6)[0]
    assert torch.equal(open_dataset(out).load(split="train", frames=2).first(6)[0], whole[:, :, ::4])
    assert torch.equal(open_dataset(out).load(split="train", frames=1).first(6)[0], whole[:, :, 0])


def test_inspection(out, tmp_path):
    found = inspect_dataset(out)
    assert found.samples == {"train": 6} and found.classes == {"left": 3, "right": 3} and found.captions == 6
    assert (found.frames, found.rate) == (8, 8) and found.sizes == (((16, 16), 6),) and found.broken == ()
    assert found.sheet.size == (8 * 98 + 2, 6 * 98 + 2), "eight frames a clip"
    first = np.asarray(found.sheet)[2:98, 2:98].astype(int), np.asarray(found.sheet)[2:98, -98:-2].astype(int)
    assert np.abs(first[0] - first[1]).max() > 100, "the first and the last frame"


def test_damaged_clips_are_named(out, tmp_path, cli):
    with tarfile.open(out / "train-000000.tar") as tar:
        infos = [info for info in tar if info.name.endswith(".mp4")][:2]
    content = bytearray((out / "train-000000.tar").read_bytes())
    content[infos[0].offset_data + 900] ^= 0xFF
    content[infos[1].offset_data : infos[1].offset_data + 8] = b"ffconcat"
    (tmp_path / "train-000000.tar").write_bytes(content)
    (tmp_path / "dataset.yaml").write_bytes((out / "dataset.yaml").read_bytes())
    found = inspect_dataset(tmp_path)
    assert found.samples == {"train": 4} and len(found.broken) == 2
    assert "damaged: its bytes do not match the hash in its .json" in found.broken[0]
    code, text, _ = cli("data", "inspect", tmp_path)
    rows = dict(line.split(None, 1) for line in text.splitlines())
    assert code == 0 and rows["clips"].strip() == "8 frames at 8 a second"


def test_shards_of_videos_are_packed_and_of_clips_again(out, tmp_path):
    again = pack(
        find_sources(out, videos=True), tmp_path / "again", "mine", PackSettings(val=False, clips=ClipSettings(4, 4))
    )
    data = open_dataset(again.folder).load(split="train", frames=4)
    assert len(data) == 6 and data.card.rate == 4
    with pytest.raises(PackError, match=r"holds videos \(such as left/0\.mp4\), not images"):
        find_sources(out)
    with pytest.raises(PackError, match="its clips are rendered when they are drawn; nothing of it is packed"):
        find_sources("moving-emoji", videos=True)
    write_tar(tmp_path / "images.tar", samples(2))
    with pytest.raises(PackError, match=r"images\.tar: holds images \(such as .*\), not videos"):
        find_sources(tmp_path / "images.tar", videos=True)
