"""Shards of rendered clips, and inspection of clips, rendered and stored."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from builders.data.dataset import Dataset
from builders.data.dataset_card import find_dataset
from builders.data.errors import DataError, PackError
from builders.data.moving.make import make
from builders.data.moving.motions import MOTIONS
from builders.data.open import open_dataset
from builders.data.shards import read_shard
from builders.video.clip import VideoUnavailableError
from tests.helpers.clips import clip_samples
from tests.helpers.shards import encode, write_tar


def emoji(folder, name, numbers):
    """A shard of images that move: dark squares on white."""
    members = []
    for number in numbers:
        image = Image.new("RGB", (64, 64), "white")
        image.paste((20 * number, 60, 120), (12, 12, 52, 44))
        facts = {"caption": f"Square {number}", "category": "Objects", "group": f"g{number}"}
        members += [(f"e{number}.png", encode(image)), (f"e{number}.json", json.dumps(facts).encode())]
    return write_tar(folder / name, members)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Moving emoji of three images instead of all."""
    folder = tmp_path_factory.mktemp("emoji")
    card, _ = find_dataset("moving-emoji")
    return Dataset(card, {"train": (emoji(folder, "train.tar", (0, 1)),), "val": (emoji(folder, "val.tar", (2,)),)})


@pytest.fixture(scope="module")
def made(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "out"
    assert make(dataset, folder, 2, lossless=True).samples == {"train": 4, "val": 2}
    return folder


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*") if not path.name.startswith(".")}


def test_shards_hold_the_rendered_clips(dataset, made):
    stored = open_dataset(made)
    assert (stored.card.frames, stored.card.rate, stored.classes) == (16, 8, tuple(MOTIONS))
    assert stored.card.encoder.startswith("PyAV ") and not stored.card.rendered_from
    assert "Noto" in stored.card.attribution and stored.card.splits["train"].samples == 4
    for split in ("train", "val"):
        read, rendered = stored.load(64, split, frames=16), dataset.load(64, split, frames=16)
        for drawn in read.in_order(1):
            index = next(i for i in range(len(rendered)) if rendered.facts(i)["key"] == drawn["key"][0])
            again = ((drawn["image"][0] + 1) * 127.5).round().permute(1, 2, 3, 0).numpy().astype(np.uint8)
            assert np.array_equal(again, rendered.clip(index))
            assert (
                drawn["caption"] == [rendered.facts(index)["caption"]] and drawn["classes"] == rendered.classes[index]
            )
            assert drawn["scale"].tolist() == [64]


def test_what_is_stored_of_a_clip(made):
    sample = next(read_shard(made / "val-000000.tar"))
    facts = json.loads(sample["json"])
    assert sample["__key__"] == "e2-still" and facts == {
        "caption": "Square 2 stands still",
        "category": "still",
        "group": "g2",
        "frames": 16,
        "rate": 8,
        "start": 0.0,
        "scale": 64,
        "sha256": hashlib.sha256(sample["mp4"]).hexdigest(),
    }


def test_equal_bytes_and_resumption(dataset, made, tmp_path, monkeypatch):
    monkeypatch.setattr("builders.data.moving.make.PER_SHARD", 2)
    out = tmp_path / "out"
    calls = []

    def stop(done, total):
        calls.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(dataset, out, 2, lossless=True, progress=stop)
    with pytest.raises(DataError, match="not finished; run the same zoo data make command"):
        open_dataset(out)
    assert make(dataset, out, 2, lossless=True).kept == 1 and calls == [(0, 6), (2, 6)]
    first = bytes_of(out)
    assert set(first) == {"dataset.yaml", "train-000000.tar", "train-000001.tar", "val-000000.tar"}
    assert make(dataset, out, 2, lossless=True).kept == 3 and bytes_of(out) == first
    (out / "train-000001.tar").write_bytes(b"cut")
    assert make(dataset, out, 2, lossless=True).kept == 2 and bytes_of(out) == first
    assert first["val-000000.tar"] == (made / "val-000000.tar").read_bytes()
    with pytest.raises(PackError, match="holds a pack of other data or settings"):
        make(dataset, out, 1, lossless=True)


def test_refusals(dataset, tmp_path, monkeypatch):
    for clips in (0, 10):
        with pytest.raises(PackError, match=f"must be from 1 to 9, one a motion, not {clips}"):
            make(dataset, tmp_path / "out", clips)
    with pytest.raises(PackError, match="noto-emoji-64 is stored, not rendered"):
        make(open_dataset("noto-emoji-64"), tmp_path / "out")
    emoji(tmp_path, "a.tar", (1,))
    with pytest.raises(PackError, match="already holds a dataset"):
        make(dataset, tmp_path)

    def missing():
        raise VideoUnavailableError("videos need PyAV")

    monkeypatch.setattr("builders.data.packing.clips.run.pyav_version", missing)
    with pytest.raises(PackError, match="videos need PyAV"):
        make(dataset, tmp_path / "out")


def test_make_command(dataset, tmp_path, monkeypatch, cli):
    code, _, err = cli("data", "make", "moving-emojis", tmp_path / "out")
    assert code == 2 and "no rendered dataset 'moving-emojis'; did you mean 'moving-emoji'?" in err
    code, _, err = cli("data", "make", "noto-emoji-64", tmp_path / "out")
    assert code == 2 and "rendered are moving-emoji" in err
    find = find_dataset
    monkeypatch.setattr(
        "builders.data.dataset_card.find_dataset",
        lambda name: (dataset.card, dataset.shards) if name == "moving-emoji" else find(name),
    )
    code, out, _ = cli("data", "make", "moving-emoji", tmp_path / "out", "--clips", 1, "-q")
    assert code == 0 and out == f"{tmp_path}/out: 2 train, 1 val clips\n"
    code, out, _ = cli("data", "make", "moving-emoji", tmp_path / "out", "-q")
    assert code == 0 and out == f"{tmp_path}/out: 2 train, 1 val clips; 2 of 2 shards reused\n"


def test_captions_of_rendered_clips_need_shards(tmp_path, cli):
    code, _, err = cli("data", "encode", "moving-emoji", tmp_path / "states")
    assert code == 2 and "moving-emoji is rendered when drawn and has no shards to encode" in err
    assert "zoo data make moving-emoji FOLDER" in err and not (tmp_path / "states").exists()


def test_list_names_frames(cli):
    rows = {row["name"]: row for row in json.loads(cli("list", "data", "--json")[1])}
    assert (rows["moving-emoji"]["frames"], rows["moving-emoji"]["rate"]) == (16, 8)
    assert (rows["noto-emoji-64"]["frames"], rows["noto-emoji-64"]["rate"]) == (1, None)


def test_rendered_clips_are_counted(cli, tmp_path):
    code, out, _ = cli("data", "inspect", "moving-emoji", "--sheet", tmp_path / "sheet.png", "-q")
    assert code == 0 and "15,498 train, 1,701 val" in out and "16 frames at 8 a second" in out
    assert "rendered from noto-emoji-64 when drawn" in out and "still (1,911)" in out
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (2 + 8 * 98, 2 + 7 * 98)


def test_stored_clips_are_read(cli, tmp_path):
    bad = [("bad.mp4", b"junk"), ("bad.json", b'{"frames": 4}')]
    shard = write_tar(tmp_path / "a.tar", [*clip_samples(5, size=(32, 16)), *bad])
    code, out, _ = cli("data", "inspect", shard, "--sheet", tmp_path / "sheet.png", "--json", "-q")
    facts = json.loads(out)
    assert code == 0 and (facts["frames"], facts["rate"], facts["samples"]) == (4, 8, {"all": 5})
    assert facts["sizes"] == [{"width": 32, "height": 16, "count": 5}] and facts["captions"] == 5
    assert len(facts["broken"]) == 1 and "bad.mp4: not a video that can be read" in facts["broken"][0]
    with Image.open(tmp_path / "sheet.png") as sheet:  # a row of frames each
        assert sheet.size == (2 + 4 * 98, 2 + 5 * 98)
