"""The dataset of moving emoji: splits, stream, sizes, pixels."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from builders.data.clips.arrays import stacked
from builders.data.dataset_card import list_datasets
from builders.data.errors import DataError, MemoryLimitError
from builders.data.moving.emoji import read_emoji
from builders.data.moving.motions import MOTIONS
from builders.data.open import open_dataset
from builders.pixels import to_float
from builders.resizing import resize
from tests.helpers.motion import centers, spread


@pytest.fixture(scope="module")
def dataset():
    return open_dataset("moving-emoji")


@pytest.fixture(scope="module")
def clips(dataset):
    """The validation split in full: 64 pixels, 16 frames."""
    return dataset.load(split="val", frames=16, memory=False)


def index_of(data, motion, number=0):
    """Index of a clip of a motion: that of the emoji of some number in the shard."""
    emoji = len(data) // len(MOTIONS)
    return next(i for i in range(number, len(data), emoji) if data.facts(i)["category"] == motion)


def test_card(dataset):
    card = dataset.card
    assert "moving-emoji" in list_datasets() and dataset.classes == tuple(MOTIONS)
    assert (card.resolution, card.frames, card.rate) == (64, 16, 8)
    assert {split: facts.samples for split, facts in card.splits.items()} == {"train": 15498, "val": 1701}


def test_splits_are_those_of_the_emoji(dataset):
    sides = {split: dataset.load(16, split, frames=2) for split in ("train", "val")}
    assert [len(sides["train"]), len(sides["val"])] == [15498, 1701] == [9 * 1722, 9 * 189]
    groups = {split: {emoji.group for emoji in read_emoji(data.shards)} for split, data in sides.items()}
    assert groups["train"].isdisjoint(groups["val"])
    with pytest.raises(DataError, match="no split 'test'"):
        dataset.load(16, "test", frames=2)


def test_every_emoji_has_every_motion(clips):
    facts = [clips.facts(index) for index in range(len(clips))]
    assert len({each["key"] for each in facts}) == len(clips)
    assert torch.bincount(clips.classes).tolist() == [189] * 9
    assert [clips.card.classes[number] for number in clips.classes] == [each["category"] for each in facts]
    # The first clips show each emoji once, and every motion equally often.
    assert len({each["group"] for each in facts[:189]}) > 100
    assert torch.bincount(clips.classes[:189]).tolist() == [21] * 9


def test_batch(clips):
    batch = clips.batch(3, 2)
    image = batch["image"]
    assert image.shape == (2, 3, 16, 64, 64) and image.dtype == torch.float32
    assert image.transpose(1, 2).is_contiguous()  # the frames of a clip one after the other
    assert -1 <= image.min() < -0.5 and image.max() == 1
    assert batch["scale"].tolist() == [64, 64] and clips.frames == 16
    for row, index in enumerate(batch["index"].tolist()):
        facts = clips.facts(index)
        assert (batch["key"][row], batch["caption"][row]) == (facts["key"], facts["caption"])
        assert clips.card.classes[batch["classes"][row]] == facts["category"]
    assert "1701 clips of 16 frames at 64 px" in repr(clips)


def test_fewer_frames_and_pixels(dataset, clips):
    full = clips.batch(5, 2)["image"]
    eight = dataset.load(64, "val", frames=8).batch(5, 2)["image"]
    assert torch.equal(eight, full[:, :, ::2])  # the first of each group
    images = dataset.load(64, "val").batch(5, 2)["image"]
    assert images.shape == (2, 3, 64, 64) and torch.equal(images, full[:, :, 0])
    small = dataset.load(32, "val", frames=4)
    for row in small.batch(5, 2)["index"].tolist():
        averaged = [np.asarray(resize(Image.fromarray(frame), (32, 32))) for frame in clips.clip(row)[::4]]
        assert np.array_equal(small.clip(row), np.stack(averaged))
    with pytest.raises(DataError, match="clips of 16 frames, which cannot be divided into 6 groups"):
        dataset.load(32, frames=6)


def test_images_have_no_frames():
    with pytest.raises(DataError, match="noto-emoji-64 holds images; clips of 8 frames are needed"):
        open_dataset("noto-emoji-64").load(16, frames=8)


def test_stream_depends_on_seed_and_position_alone(dataset):
    data = dataset.load(16, "val", frames=2, seed=5)
    whole = data.batch(1695, 12)  # across the end of an epoch
    again = pickle.loads(pickle.dumps(data))
    parts = [again.batch(start, 3) for start in range(1695, 1707, 3)]
    assert torch.equal(torch.cat([part["image"] for part in parts]), whole["image"])
    assert [key for part in parts for key in part["key"]] == whole["key"]
    assert dataset.load(16, "val", frames=2, seed=6).batch(1695, 12)["key"] != whole["key"]
    # The seed of the order does not change the clips.
    other = dataset.load(16, "val", frames=2, seed=6)
    assert np.array_equal(other.clip(7), data.clip(7))


def test_workers_draw_the_same_clips(dataset):
    data = dataset.load(16, "val", frames=2)
    with torch.multiprocessing.get_context("fork").Pool(2) as pool:
        drawn = pool.starmap(data.batch, [(0, 2), (2, 2)])
    assert torch.equal(torch.cat([part["image"] for part in drawn]), data.batch(0, 4)["image"])


def test_clips_are_mirrored_whole(dataset):
    data = dataset.load(16, "val", frames=4)
    plain, flipped = data.batch(0, 6)["image"], data.batch(0, 6, flip=True)["image"]
    mirrored = [not torch.equal(a, b) for a, b in zip(plain, flipped, strict=True)]
    assert any(mirrored) and not all(mirrored)
    for row, changed in enumerate(mirrored):
        assert torch.equal(flipped[row], plain[row].flip(-1) if changed else plain[row])


def test_in_order_and_first(dataset):
    data = dataset.load(16, "val", frames=2)
    images, captions = data.first(3)
    batch = next(data.in_order(3))
    assert images.shape == (3, 3, 2, 16, 16) and images.dtype == torch.uint8
    assert captions == tuple(batch["caption"]) and batch["index"].tolist() == [0, 1, 2]
    assert torch.equal((images.float() / 127.5 - 1), batch["image"])


def test_memory(dataset):
    cached = dataset.load(16, "val", frames=2)
    assert cached.clip(0) is cached.clip(0)
    assert len(pickle.loads(pickle.dumps(cached))._clips) == 0
    drawn = dataset.load(64, "train", frames=16)  # 3.0 GB
    assert drawn.clip(0) is not drawn.clip(0)
    with pytest.raises(MemoryLimitError, match="moving-emoji at 64 pixels and 16 frames takes more than 1 GiB"):
        dataset.load(64, frames=16, memory=True)


PIXELS = {
    "1f5e8-fe0f-left": "65371f3a9158f41371150206daa4e6523158c89327192f263fd7266f8a295909",
    "1f9de-right": "33ee102f6af166f0e9043852c1d0a2ce865f7670315a94d2d244e39fc984284a",
    "1f99a-up": "dd42ac56f4293cc9560ac9ce38aae20a3ee6d70a300ef065962ddd834f3c5f6f",
    "1f3d6-fe0f-down": "8b65d5494aed60b9a7f7fd248c9271892ba3ffcaccd0cd0a44979298d7e53bad",
    "1f94f-clockwise": "9a1ec1a9cca9290aef835b9239fd05dfadcc478843e4abf04af483f3c5a137c9",
    "1f511-anticlockwise": "6ba4478a26f222d14653e77d71752e23157545a547d124fd42b37830b21694b3",
    "2714-fe0f-grow": "dcc44906a2dfd92a317d0665af1854063e5331a01a2eaae07adf71569aed49c3",
    "1f1e6-1f1f2-shrink": "6cbccd21d9aa2c8f1c418d887ab6c06a1896237ce8dfbb5d84ef1f9fcc678ce1",
}


def test_pixels(clips):
    """The pixels of eight clips do not change."""
    found = {}
    for number, motion in enumerate(MOTIONS):
        if motion != "still":
            index = index_of(clips, motion, 20 * number)
            found[clips.facts(index)["key"]] = hashlib.sha256(clips.clip(index).tobytes()).hexdigest()
    assert found == PIXELS


def test_frames_are_averages_of_a_larger_rendering_on_white(clips):
    for motion in MOTIONS:
        clip = clips.clip(index_of(clips, motion))
        assert clip.shape == (16, 64, 64, 3) and clip.dtype == np.uint8
        assert (clip[:, 0, 0] == 255).all() and clip.min() < 200
        assert (motion == "still") == all(np.array_equal(clip[0], frame) for frame in clip)


def test_motion_of_each_class(dataset):
    """Path of the center of ink and change of its size, on ten clips of each class."""
    clips = dataset.load(32, "val", frames=8)
    for motion in MOTIONS:
        drawn = to_float(stacked([clips.clip(index_of(clips, motion, 17 * number)) for number in range(10)]))
        path, size = centers(drawn), spread(drawn)
        dx, dy = (path[:, -1] - path[:, 0]).mean(0).tolist()
        ratio = (size[:, -1] / size[:, 0].clamp(min=1)).median().item()
        wanted = {"left": (-0.4, 0), "right": (0.4, 0), "up": (0, -0.4), "down": (0, 0.4)}.get(motion, (0, 0))
        assert abs(dx - wanted[0]) < 0.05 and abs(dy - wanted[1]) < 0.05, (motion, dx, dy)
        size_wanted = {"grow": 1.9, "shrink": 1 / 1.9}.get(motion, 1)
        assert abs(ratio / size_wanted - 1) < 0.15, (motion, ratio)
