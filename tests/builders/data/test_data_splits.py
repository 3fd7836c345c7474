"""Splits with broken samples or without images."""

from __future__ import annotations

import pickle
import warnings

import pytest
import torch
from PIL import Image

from builders.data.error_budget import BrokenDataWarning, ErrorBudget, TooManyBrokenError
from builders.data.errors import DataError, EmptySplitError
from builders.data.mixture import EmptyPartWarning
from builders.data.open import open_dataset
from builders.data.splits import is_held_out
from tests.helpers.shards import encode, write_tar

PIXEL = encode(Image.new("RGB", (8, 8), (10, 20, 30)))
BLUE = encode(Image.new("RGB", (8, 8), (0, 0, 255)))
KEYS = [f"{number:05}" for number in range(4000)]
HELD_OUT = [key for key in KEYS if is_held_out(key)]
KEPT = [key for key in KEYS if not is_held_out(key)]


def shard(path, keys, texts=(), images=(), pixel=PIXEL):
    """A shard of samples with these keys; the .json of some is broken, and the image of others."""
    members = []
    for key in sorted(keys):
        members.append((f"{key}.png", b"junk" if key in images else pixel))
        members.append((f"{key}.json", b"{" if key in texts else b"{}"))
    return write_tar(path, members)


@pytest.mark.parametrize("memory", [None, pytest.param(False, marks=pytest.mark.slow)])
def test_the_budget_counts_both_splits(tmp_path, memory):
    keys = KEYS[:1200]
    dataset = open_dataset(shard(tmp_path / "x.tar", keys, texts=keys[::200]))
    for split, others in (("train", HELD_OUT), ("val", KEPT)):
        with pytest.warns(BrokenDataWarning, match="x: skipped 6 broken samples"):
            data = dataset.load(8, split, memory=memory)
        assert len(data) == len(set(keys) - set(keys[::200]) - set(others))
    dataset = open_dataset(shard(tmp_path / "x.tar", keys, texts=keys[::80]))
    for split in ("train", "val"):
        message = r"x: 15 of 1200 samples are broken, more than the limit of 12"
        with pytest.raises(TooManyBrokenError, match=message):
            dataset.load(8, split, memory=memory)


def test_the_budget_of_lazy_images_counts_both_splits(tmp_path):
    held_out, kept = HELD_OUT[:40], KEPT[:1960]
    path = shard(tmp_path / "x.tar", [*held_out, *kept], texts=kept[:5], images=held_out[:12])
    with pytest.warns(BrokenDataWarning):
        data = open_dataset(path).load(8, "val", memory=False)
        assert set(data.batch(0, 80)["key"]) == set(held_out[12:])
    path = shard(tmp_path / "y.tar", [*held_out, *kept], texts=kept[:5], images=held_out[:16])
    with (
        pytest.warns(BrokenDataWarning),
        pytest.raises(TooManyBrokenError, match="y: 21 of 2000.* limit of 20"),
    ):
        open_dataset(path).load(8, "val", memory=False).batch(0, 80)


@pytest.mark.parametrize("memory", [None, False])
def test_a_split_of_broken_samples_is_an_error(tmp_path, memory):
    path = shard(tmp_path / "x.tar", [*HELD_OUT[:3], *KEPT[:60]], texts=KEPT[:2], images=HELD_OUT[:3])
    message = "x: 5 of 63 samples are broken, including the whole split: "
    for _ in range(2):
        with (
            warnings.catch_warnings(action="ignore", category=BrokenDataWarning),
            pytest.raises(TooManyBrokenError, match=message),
        ):
            open_dataset(path).load(8, "val", memory=memory).batch(0, 3)


@pytest.mark.parametrize("memory", [None, False])
def test_broken_texts_and_a_split_without_images(tmp_path, memory):
    dataset = open_dataset(shard(tmp_path / "x.tar", KEPT[:12], texts=KEPT[:1]))
    with pytest.warns(BrokenDataWarning, match="x: skipped 1 broken sample"):
        assert len(dataset.load(8, "train", memory=memory)) == 11
    with pytest.warns(BrokenDataWarning), pytest.raises(EmptySplitError, match="no images in its val split"):
        dataset.load(8, "val", memory=memory)
    # If all samples are broken, that is the error.
    dataset = open_dataset(shard(tmp_path / "x.tar", KEPT[:4], texts=KEPT[:4]))
    with pytest.raises(TooManyBrokenError, match="x: 4 of 4 samples are broken: "):
        dataset.load(8, "val", memory=memory)


def test_one_broken_shard_is_one():
    message = "x: 1 of 4 shards is broken, more than 10%: cut off"
    with pytest.raises(DataError, match=message), ErrorBudget("x", 4).skip_shard():
        raise DataError("cut off")


def test_errors_stay_what_they_are_between_processes():
    text = "set of TooManyBrokenError: 12 of 12"
    assert str(pickle.loads(pickle.dumps(TooManyBrokenError(text)))) == text


def mixture(tmp_path):
    """Datasets of which the first has no validation images, and the second no training images."""
    paths = [
        shard(tmp_path / "kept.tar", KEPT[:20]),
        shard(tmp_path / "held.tar", HELD_OUT[:6], pixel=BLUE),
        shard(tmp_path / "both.tar", [*KEPT[20:40], *HELD_OUT[6:10]]),
    ]
    return {str(path): weight for path, weight in zip(paths, (4.0, 3.0, 1.0), strict=True)}


@pytest.mark.parametrize("memory", [None, False])
def test_a_mixture_of_which_one_set_is_empty(tmp_path, memory):
    mixed = open_dataset(mixture(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = mixed.load(8, "val", memory=memory)
    assert len(data) == 10 and len(data.classes) == 10 and data.resolution == 8
    batch = data.batch(0, 300)
    assert set(batch["key"]) == set(HELD_OUT[:10])
    # Three to one, the weights of the other two datasets.
    assert 0.65 < (batch["image"][:, 0, 0, 0] == -1).float().mean() < 0.85
    assert len(torch.cat([each["classes"] for each in data.in_order(4)])) == 10 and data.first(9)[0].shape[0] == 9
    with pytest.warns(EmptyPartWarning, match="left out of the mixture: held: no images in its train split"):
        data = mixed.load(8, "train", memory=memory)
    assert set(data.batch(0, 400)["key"]) == set(KEPT[:40])


def test_a_mixture_of_empty_sets(tmp_path):
    paths = [shard(tmp_path / f"{name}.tar", KEPT[:4]) for name in "ab"]
    with pytest.raises(EmptySplitError, match="no images in its val split"):
        open_dataset({str(path): 1.0 for path in paths}).load(8, "val")
    # A shard that cannot be read is an error, not an empty part.
    paths[0].write_bytes(b"junk" * 500)
    with pytest.raises(DataError, match="not a tar file"):
        open_dataset({str(path): 1.0 for path in paths}).load(8, "train")
