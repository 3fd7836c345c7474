"""Datasets: the packaged emoji, shards of other sizes, hostile shards, and the order of training samples."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from builders.data.errors import DataError
from builders.data.open import open_data, open_dataset
from builders.data.shards import read_shard
from builders.datasets.make_noto_emoji import base, similar
from builders.pixels import to_bytes, to_float
from specs.errors import SpecError
from tests.helpers.shards import encode, samples, write_tar


@pytest.fixture(scope="module")
def emoji():
    return open_data("noto-emoji-64"), open_data("noto-emoji-64", split="val")


def test_packaged_emoji(emoji):
    train, held_out = emoji
    card = train.card
    assert (len(train), len(held_out)) == (card.splits["train"].samples, card.splits["val"].samples) == (1722, 189)
    assert train.images.shape == (1722, 3, 64, 64) and train.images.dtype == torch.uint8
    assert card.licence == "Apache-2.0" and "Noto" in card.attribution and len(card.classes) == 10
    assert not set(train.keys) & set(held_out.keys)
    assert (train.classes.bincount(minlength=10) > 0).all() and train.classes.max() == 9
    flag = train.keys.index("1f1e9-1f1f0")
    assert train.captions[flag] == "Denmark Flag" and card.classes[train.classes[flag]] == "Flags"
    assert repr(train) == "<Images noto-emoji-64 train: 1722 images of 64 px>"
    # Composited on white.
    assert (train.images[:, :, 0, 0] == 255).float().mean() > 0.9


def test_split_keeps_near_duplicates_together(emoji):
    train, held_out = emoji
    assert not {base(key.upper()) for key in train.keys} & {base(key.upper()) for key in held_out.keys}
    small = [np.asarray(Image.fromarray(x).resize((32, 32), Image.Resampling.BOX)) for x in _arrays(emoji)]
    across = [(i, j) for i, j in similar(np.stack(small)) if (i < len(train)) != (j < len(train))]
    assert across == []


def _arrays(emoji):
    return [image for data in emoji for image in data.images.permute(0, 2, 3, 1).numpy()]


@pytest.mark.parametrize(
    ("codepoints", "expected"),
    [
        ("1F64B-200D-2640-FE0F", "1F64B"),
        ("1F468-1F3FD-200D-1F9B1", "1F9D1-1F9B1"),
        ("1F469-200D-1F9B1", "1F9D1-1F9B1"),
        ("1F468-200D-1F469-200D-1F466", "1F46A"),
        ("1F469-200D-2764-FE0F-200D-1F48B-200D-1F468", "1F48F"),
        ("1F1E9-1F1F0", "1F1E9-1F1F0"),
        ("1F3FB", "1F3FB"),
        ("2642-FE0F", ""),
    ],
)
def test_base_of_variants(codepoints, expected):
    assert base(codepoints) == expected


def test_lower_resolution_is_the_area_average(emoji):
    small = open_data("noto-emoji-64", 16, "val")
    pooled = torch.nn.functional.avg_pool2d(emoji[1].images.float(), 4)
    assert (small.images.float() - pooled).abs().max() <= 1  # rounded along each axis


@pytest.mark.parametrize("name", ["flags", "Flags", "9", "flag", "food", "Food & Drink"])
def test_class_index(name):
    dataset = open_dataset("noto-emoji-64")
    if name == "flag":
        with pytest.raises(DataError, match="no class 'flag'; did you mean 'Flags'"):
            dataset.class_index(name)
    else:
        assert dataset.class_index(name) == (9 if name.lower() in ("flags", "9") else 4)


def test_stream_depends_on_seed_and_position_alone(emoji):
    data = emoji[1]
    count = len(data)
    whole = torch.cat([data.batch(start, 10)["index"] for start in range(0, 3 * count, 10)])[: 3 * count]
    for epoch in whole.split(count):
        assert sorted(epoch.tolist()) == list(range(count))
    assert not torch.equal(whole[:count], whole[count : 2 * count])
    fresh = open_data("noto-emoji-64", split="val")
    assert torch.equal(fresh.batch(2 * count - 3, 50)["index"], whole[2 * count - 3 :][:50])
    assert torch.equal(data.batch(5, 2 * count)["index"], whole[5 : 2 * count + 5])
    other = open_data("noto-emoji-64", split="val", seed=1)
    assert not torch.equal(other.batch(0, count)["index"], whole[:count])


def test_batches(emoji):
    data = emoji[1]
    batch = data.batch(3, 4)
    index = batch["index"]
    assert batch["image"].dtype == torch.float32 and batch["image"].min() >= -1 and batch["image"].max() <= 1
    assert torch.equal(batch["image"], to_float(data.images[index]))
    assert torch.equal(batch["classes"], data.classes[index])
    assert batch["caption"] == [data.captions[i] for i in index] and batch["key"] == [data.keys[i] for i in index]
    loader = data.loader(4, start=3)
    assert torch.equal(next(loader)["index"], index) and torch.equal(next(loader)["index"], data.batch(7, 4)["index"])
    flipped = data.batch(0, 100, flip=True)
    plain = data.batch(0, 100)
    mirrored = [torch.equal(a, b.flip(-1)) and not torch.equal(a, b) for a, b in _pairs(flipped, plain)]
    assert 20 < sum(mirrored) < 80 and all(
        torch.equal(a, b) or torch.equal(a, b.flip(-1)) for a, b in _pairs(flipped, plain)
    )
    assert torch.cat([part["index"] for part in data.in_order(50)]).tolist() == list(range(len(data)))
    assert data[0]["key"] == data.keys[0] and data[0]["image"].shape == (3, 64, 64)
    with pytest.raises(ValueError, match="negative"):
        data.batch(-1, 4)


def _pairs(first, second):
    return zip(first["image"], second["image"], strict=True)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG"])
def test_own_shards(tmp_path, form):
    write_tar(tmp_path / "a-000.tar", samples(40, (40, 20), form))
    write_tar(tmp_path / "b.tar.gz", [(f"b/{name}", content) for name, content in samples(20, (10, 10), form)], "w:gz")
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("cat", "dog")
    train, held_out, everything = (dataset.load(16, split) for split in ("train", "val", "all"))
    assert len(everything) == 60 and len(train) + len(held_out) == 60 and 0 < len(held_out) < 20
    assert sorted(train.keys + held_out.keys) == sorted(everything.keys)
    assert everything.images.shape == (60, 3, 16, 16)
    assert open_data(tmp_path / "a-000.tar", split="all").resolution == 20
    assert everything.captions[3] == "no. 3" and everything.classes[:4].tolist() == [0, 1, 0, 1]


def test_own_card(tmp_path):
    write_tar(tmp_path / "x.tar", samples(4))
    (tmp_path / "dataset.yaml").write_text("name: mine\nclasses: [dog]\nsplits:\n  train: {shards: [x.tar]}\n")
    data = open_data(tmp_path, 8)
    # A label that the card does not list is an unknown class.
    assert data.classes.tolist() == [1, 0, 1, 0]
    with pytest.raises(DataError, match="mine has no split 'val'"):
        open_data(tmp_path, 8, "val")
    (tmp_path / "dataset.yaml").write_text("name: mine\nsplits:\n  train: {shard: [x.tar]}\n")
    with pytest.raises(SpecError, match=r"dataset.yaml:3:11: error\[unknown-key\]"):
        open_dataset(tmp_path)
    (tmp_path / "dataset.yaml").write_text("name: mine\nsplits:\n  train: {shards: [../x.tar]}\n")
    with pytest.raises(DataError, match="not a file name"):
        open_dataset(tmp_path)


def test_captions_and_classes_without_json(tmp_path):
    content = encode(Image.new("RGB", (8, 8)))
    members = [("a.png", content), ("a.txt", b"a cat\n"), ("a.cls", b"3")]
    data = open_data(write_tar(tmp_path / "x.tar", members), split="all")
    assert data.captions == ("a cat",) and data.card.classes == ("3",)


def test_transparency_is_white(tmp_path):
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    data = open_data(write_tar(tmp_path / "x.tar", [("a.png", encode(image))]), split="all")
    assert (data.images == 255).all()


def bomb():
    """A PNG header that announces 10,000 x 10,000 pixels."""
    header = struct.pack(">IIBBBBB", 10000, 10000, 8, 2, 0, 0, 0)

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


PIXEL = encode(Image.new("RGB", (8, 8)))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.json", b"{}")], "no images in its shard; left out texts without an image: 1"),
        ([("a.png", b"")], "a.png: not a PNG, WebP, JPEG, GIF, AVIF, TIFF, BMP, JPEG 2000 or PPM image"),
        ([("a.png", b"BM" + b"\0" * 50)], "a.png: broken image"),
        ([("a.png", PIXEL[:48])], "a.png: broken image"),
        ([("a.png", bomb())], "a.png: 10000x10000 pixels; the limit is 64 megapixels"),
        ([("a.png", PIXEL), ("a.json", b"{")], "'a': its .json is not JSON"),
        ([("a.png", PIXEL), ("a.json", b"[" * 100000)], "'a': its .json is not JSON"),
        ([("a.png", PIXEL), ("a.json", b"[1]")], "not a mapping"),
        ([("a.png", PIXEL), ("a.png", PIXEL)], "there are two members of this name"),
        ([("../a.png", PIXEL)], "unsafe member name '../a.png'"),
        ([("/a.png", PIXEL)], "unsafe member name"),
    ],
)
def test_bad_shards(tmp_path, members, message):
    path = write_tar(tmp_path / "x.tar", members)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(path).load(8, "all")
    assert "\n" not in str(caught.value)


def test_pickles_and_other_members_are_skipped(tmp_path):
    trap = b"cos\nsystem\n(S'touch trapped'\ntR."
    members = [("a.png", PIXEL), ("a.pyd", trap), ("a.pickle", trap), ("a.pth", trap), ("__init__.py", trap)]
    path = write_tar(tmp_path / "x.tar", members)
    assert [set(sample) for sample in read_shard(path)] == [{"__key__", "png"}]


def test_broken_files(tmp_path):
    whole = write_tar(tmp_path / "whole.tar", samples(40)).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2 + 100])
    (tmp_path / "junk.tar").write_bytes(b"\x00\x01junk" * 1000)
    (tmp_path / "empty.tar").write_bytes(b"")
    (tmp_path / "folder.d").mkdir()
    for name, message in (
        ("cut.tar", "cut off|broken"),
        ("junk.tar", "not a tar file"),
        ("empty.tar", "not a tar file|no images"),
        ("none.tar", "no dataset"),
        ("folder.d", "no shards"),
    ):
        with pytest.raises(DataError, match=message):
            open_data(tmp_path / name, 8, "all")
    packed = write_tar(tmp_path / "whole.tar.gz", samples(40), "w:gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=r"cut off|broken"):
        open_data(tmp_path / "cut.tar.gz", 8, "all")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("pipe:touch trapped", "addresses of this kind are not read"),
        ("pipe:cat x.tar | tee y", "addresses of this kind are not read"),
        ("simplecache::file://x.tar", "addresses of this kind are not read|no dataset"),
        ("file:///nowhere/x.tar", "file:///nowhere/x.tar: cannot be fetched"),
        ("memory://nothing.tar", "cannot be fetched"),
        ("set-{3..1}.tar", "runs backwards"),
        ("set-{0..9999999999}.tar", "more than 1,000,000 shards"),
        ("set-{0..1}.tar", "set-0.tar does not exist"),
    ],
)
def test_addresses_that_lead_nowhere(address, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(address)
    assert "\n" not in str(caught.value) and not (tmp_path / "trapped").exists()


def test_unknown_name():
    with pytest.raises(DataError, match="did you mean 'noto-emoji-64'"):
        open_dataset("noto-emoji64")
    with pytest.raises(DataError, match="no split 'test'"):
        open_data("noto-emoji-64", split="test")


def test_too_large_for_memory(emoji, monkeypatch):
    monkeypatch.setattr("builders.data.memory.MAX_BYTES", 10 * 3 * 64 * 64)
    with pytest.raises(DataError, match=r"takes more than .* memory"):
        open_dataset("noto-emoji-64").load(memory=True)
    # By default such a dataset is read when drawn, and has the same batches.
    lazy = open_data("noto-emoji-64")
    assert "read when drawn" in repr(lazy)
    first, second = emoji[0].batch(1700, 40, flip=True), lazy.batch(1700, 40, flip=True)
    assert torch.equal(first["image"], second["image"]) and first["caption"] == second["caption"]
    assert torch.equal(first["classes"], second["classes"]) and torch.equal(first["scale"], second["scale"])


def test_bytes_are_what_they_were():
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_bytes(to_float(every)), every)
