"""Clips in shards: reading, sizes, frames, broken ones, mixtures."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from builders.data.error_budget import BrokenDataWarning, TooManyBrokenError
from builders.data.errors import DataError, MemoryLimitError, MixedKindsError
from builders.data.open import open_dataset
from builders.pixels import to_bytes
from builders.video.clip import VideoUnavailableError
from tests.helpers.clips import clip_bytes, clip_facts, clip_samples, frames_of
from tests.helpers.shards import encode, samples, write_tar


def tensor_of(frames):
    """Frames as a sample (3, frames, height, width) uint8; one frame as an image."""
    pixels = torch.from_numpy(frames).permute(3, 0, 1, 2)
    return pixels[:, 0] if len(frames) == 1 else pixels


@pytest.fixture
def shard(tmp_path):
    return write_tar(tmp_path / "clips.tar", clip_samples(6))


def with_card(folder, **facts):
    lines = {"name": "clips", "frames": 4, "rate": 8, "resolution": 16} | facts
    (folder / "dataset.yaml").write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    return folder


@pytest.mark.parametrize("memory", [True, False])
def test_clips_are_read(shard, memory):
    dataset = open_dataset(shard)
    assert (dataset.card.frames, dataset.card.rate, dataset.classes) == (4, 8, ("cat", "dog"))
    data = dataset.load(split="all", frames=4, memory=memory)
    assert len(data) == 6 and data.frames == 4 and "6 clips of 4 frames at 16 px" in repr(data)
    for source in (data, pickle.loads(pickle.dumps(data))):
        batch = source.batch(0, 6)
        assert batch["image"].shape == (6, 3, 4, 16, 16) and batch["image"].transpose(1, 2).is_contiguous()
        assert batch["scale"].tolist() == [48] * 6
        for row, index in enumerate(batch["index"].tolist()):
            assert torch.equal(to_bytes(batch["image"][row]), tensor_of(frames_of(index)))
            assert batch["caption"][row] == f"no. {index}" and batch["classes"][row] == index % 2
    images, captions = data.first(2)
    assert images.dtype == torch.uint8 and torch.equal(images[1], tensor_of(frames_of(1)))
    assert captions == ("no. 0", "no. 1")
    assert [len(each["key"]) for each in data.in_order(4)] == [4, 2]


@pytest.mark.parametrize("memory", [True, False])
def test_fewer_frames_and_first_frames(shard, memory):
    dataset = open_dataset(shard)
    two = dataset.load(16, "all", frames=2, memory=memory)
    assert torch.equal(two.first(6)[0][5], tensor_of(frames_of(5)[::2]))
    one = dataset.load(16, "all", memory=memory)
    assert one.frames == 1 and one.batch(0, 3)["image"].shape == (3, 3, 16, 16)
    assert torch.equal(one.first(6)[0][5], tensor_of(frames_of(5)[:1]))
    with pytest.raises(DataError, match="clips of 4 frames, which cannot be divided into 3 groups"):
        dataset.load(16, "all", frames=3)
    with pytest.raises(DataError, match="clips of 4 frames, which cannot be divided into 8 groups"):
        dataset.load(16, "all", frames=8)


def test_clips_are_averaged(shard):
    small = open_dataset(shard).load(8, "all", frames=4).first(1)[0][0]
    means = frames_of(0).reshape(4, 8, 2, 8, 2, 3).astype(int).sum((2, 4))
    assert np.array_equal(small.permute(1, 2, 3, 0).numpy(), (means + 2) // 4)


def test_one_crop_for_all_frames(tmp_path):
    shard = write_tar(tmp_path / "wide.tar", clip_samples(4, 4, (32, 16)))
    data = open_dataset(shard).load(16, "all", frames=4, crop="random", seed=3)
    batch = data.batch(0, 8)
    places = set()
    for row, index in enumerate(batch["index"].tolist()):
        whole, crop = tensor_of(frames_of(index, 4, (32, 16))), to_bytes(batch["image"][row])
        found = [x for x in range(17) if torch.equal(whole[..., x : x + 16], crop)]
        assert found
        places.add(found[0])
    assert len(places) > 2
    assert torch.equal(data.batch(5, 3)["image"], batch["image"][5:])
    center = open_dataset(shard).load(16, "all", frames=4).first(1)[0][0]
    assert torch.equal(center, tensor_of(frames_of(0, 4, (32, 16)))[..., 8:24])


def test_clips_are_mirrored_whole(shard):
    data = open_dataset(shard).load(16, "all", frames=4)
    plain, flipped = data.batch(0, 3)["image"], data.batch(0, 3, flip=True)["image"]  # as many clips as channels
    for before, after in zip(plain, flipped, strict=True):
        assert torch.equal(after, before) or torch.equal(after, before.flip(-1))
    assert not torch.equal(plain, flipped)


def test_the_card_says_what_is_stored(tmp_path):
    write_tar(tmp_path / "a.tar", clip_samples(3))
    dataset = open_dataset(with_card(tmp_path))
    assert dataset.card.frames == 4 and dataset.load(16, "all", frames=4).frames == 4
    with_card(tmp_path, frames=8)
    with pytest.raises(TooManyBrokenError, match=r"0000.mp4: its .json says 4 frames; clips of clips have 8"):
        open_dataset(tmp_path).load(16, "all", frames=8)
    with_card(tmp_path, frames=1)
    with pytest.raises(MixedKindsError, match=r"0000.mp4 is a video, but clips holds images; .* says 'frames: 4'"):
        open_dataset(tmp_path).load(16, "all")


def test_one_kind_a_dataset(tmp_path):
    images = [(f"x{name}", content) for name, content in samples(2)]
    mixed = write_tar(tmp_path / "mixed.tar", [*clip_samples(2), *images])
    with pytest.raises(
        MixedKindsError, match=r"x0000.png is an image and .*0000.mp4 is a clip; a dataset has one kind"
    ):
        open_dataset(mixed)
    with pytest.raises(MixedKindsError, match=r"x0000.png is an image, but clips holds clips of 4 frames"):
        open_dataset(with_card(tmp_path)).load(16, "all", frames=4)
    with pytest.raises(DataError, match="holds images; clips of 4 frames are needed"):
        open_dataset(write_tar(tmp_path / "images.tar", images)).load(16, frames=4)


def test_videos_that_are_not_packed(tmp_path):
    videos = [(name, content) for name, content in clip_samples(2) if name.endswith("mp4")]
    with pytest.raises(MixedKindsError, match="is a video, and no .json says how many 'frames' it has; pack clips"):
        open_dataset(write_tar(tmp_path / "a.tar", videos))


BROKEN = {
    "hash": (clip_bytes(0), clip_facts(clip_bytes(1)), "its bytes do not match the hash in its .json"),
    "cut": (clip_bytes(0)[:400], clip_facts(clip_bytes(0)[:400]), "not a video that can be read"),
    "picture": (png := encode(Image.new("RGB", (16, 16))), clip_facts(png), "not a video that can be read"),
    "fewer": (clip_bytes(0, 3), clip_facts(clip_bytes(0, 3)), "has 3 frames; 4 are needed"),
    "more": (clip_bytes(0, 5), clip_facts(clip_bytes(0, 5)), "has more than 4 frames"),
    "other": (clip_bytes(0, 5), clip_facts(clip_bytes(0, 5), 5), "its .json says 5 frames; clips of a have 4"),
    "text": (
        clip_bytes(0),
        clip_facts(clip_bytes(0), frames="4"),
        "'frames' is '4'; it must be a whole number of at most 100,000",
    ),
    "rate": (clip_bytes(0), clip_facts(clip_bytes(0), rate=-1), "'rate' is -1; it must be a positive number"),
}


@pytest.mark.parametrize(("content", "facts", "message"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("memory", [True, False])
def test_broken_clips_are_named(tmp_path, content, facts, message, memory):
    good = list(clip_samples(3))
    shard = write_tar(tmp_path / "a.tar", [*good, ("bad.mp4", content), ("bad.json", facts)])
    with pytest.warns(BrokenDataWarning, match="broken") as caught:
        data = open_dataset(shard).load(16, "all", frames=4, memory=memory)
        drawn = data.batch(0, 12)
    assert any(message in str(each.message) and "bad" in str(each.message) for each in caught)
    assert set(drawn["key"]) == {"0000", "0001", "0002"}


def test_too_many_broken_clips(tmp_path):
    members = [(name, content if name.endswith("json") else b"junk") for name, content in clip_samples(3, sha256="")]
    shard = write_tar(tmp_path / "a.tar", members)
    with pytest.raises(TooManyBrokenError, match="3 of 3 samples are broken"):
        open_dataset(shard).load(16, "all", frames=4)
    lazy = open_dataset(shard).load(16, "all", frames=4, memory=False)
    with pytest.warns(BrokenDataWarning, match="skipped a broken clip"), pytest.raises(TooManyBrokenError):
        lazy.batch(0, 1)


def test_no_other_file_is_opened(tmp_path, monkeypatch):
    """A member called .mp4 that is a script of FFmpeg does not open its neighbours."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.mp4").write_bytes(clip_bytes(5))
    script = f"ffconcat version 1.0\nfile {tmp_path}/secret.mp4\n".encode()
    shard = write_tar(tmp_path / "a.tar", [*clip_samples(2), ("bad.mp4", script), ("bad.json", clip_facts(script))])
    with pytest.warns(BrokenDataWarning, match="not a video that can be read"):
        data = open_dataset(shard).load(16, "all", frames=4)
    assert len(data) == 2


def test_without_pyav(shard, monkeypatch):
    def missing():
        raise VideoUnavailableError("videos need PyAV; install it")

    monkeypatch.setattr("builders.data.sample_reader.pyav_version", missing)
    with pytest.raises(DataError, match="clips: videos need PyAV; install it"):
        open_dataset(shard).load(16, "all", frames=4)


def test_compressed_shards_and_splits(tmp_path):
    shard = write_tar(tmp_path / "a.tar.gz", clip_samples(30), "w:gz")
    dataset = open_dataset(shard)
    train, val = (dataset.load(8, split, frames=2, memory=False) for split in ("train", "val"))
    assert len(train) + len(val) == 30 and len(val) > 0
    assert {*train.batch(0, len(train))["key"]}.isdisjoint(val.batch(0, len(val))["key"])


def test_memory_limit_counts_frames(shard, monkeypatch):
    monkeypatch.setattr("builders.data.memory.MAX_BYTES", 6 * 2 * 3 * 16 * 16)
    dataset = open_dataset(shard)
    assert "read when drawn" not in repr(dataset.load(16, "all", frames=2))
    assert "read when drawn" in repr(dataset.load(16, "all", frames=4))
    with pytest.raises(MemoryLimitError, match="at 16 pixels and 4 frames takes more than"):
        dataset.load(16, "all", frames=4, memory=True)


def test_mixtures_of_clips(shard, tmp_path):
    other = write_tar(tmp_path / "other.tar", clip_samples(4, 8, category="bird", rate=4))
    mixed = open_dataset({str(shard): 1, str(other): 3})
    assert (mixed.card.frames, mixed.card.rate, mixed.classes) == (4, None, ("cat", "dog", "bird"))
    data = mixed.load(16, "all", frames=4)
    batch = data.batch(0, 40)
    assert data.frames == 4 and batch["image"].shape == (40, 3, 4, 16, 16)
    assert batch["image"].transpose(1, 2).is_contiguous()
    assert 20 < (batch["classes"] == 2).sum() < 38
    assert torch.equal(data.batch(7, 3)["image"], batch["image"][7:10])
    assert data.first(4)[0].shape == (4, 3, 4, 16, 16)
    with pytest.raises(DataError, match="noto-emoji-64 holds images; clips of 4 frames are needed"):
        open_dataset({str(shard): 1, "noto-emoji-64": 1}).load(16, "val", frames=4)


def test_an_image_beside_a_video_of_its_key_is_the_sample(tmp_path):
    members = [("0.png", encode(Image.new("RGB", (8, 8)))), ("0.mp4", clip_bytes(0)), ("0.json", b"{}")]
    dataset = open_dataset(write_tar(tmp_path / "a.tar", members))
    with pytest.warns(UserWarning, match=r"further images of a sample: 1 \(0.mp4\)"):
        assert dataset.card.frames == 1 and len(dataset.load(8, "all")) == 1
