"""Packing images into shards, and inspecting what was packed."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from builders import packing
from builders.data import open_dataset
from builders.pack_sources import PackError, find_sources
from builders.packing import PackSettings, pack


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True)
        for index in range(20):
            colour = (12 * index, 200 if label == "cat" else 0, 50)
            Image.new("RGB", (40, 20), colour).save(root / label / f"{index:02}.png")
            (root / label / f"{index:02}.txt").write_text(f"{label} number {index}\n")
    return root


def packed(folder, out, **options):
    return pack(find_sources(folder), out, "mine", PackSettings(**({"resolution": 16} | options)))


def test_folder(folder, tmp_path):
    found = packed(folder, tmp_path / "out", samples_per_shard=10, licence="CC0")
    assert sum(found.samples.values()) == 40 and found.classes == ("cat", "dog") and found.broken == ()
    dataset = open_dataset(tmp_path / "out")
    assert (dataset.card.name, dataset.card.licence, dataset.card.resolution) == ("mine", "CC0", 16)
    data = dataset.load(split="all")
    assert data.images.shape == (40, 3, 16, 16) and (data.sides == 16).all()
    greens = {caption: int(image[1, 8, 8]) for caption, image in zip(data.captions, data.images, strict=True)}
    assert greens["cat number 3"] == 200 and greens["dog number 19"] == 0
    assert [dataset.classes[i] for i in data.classes.tolist()] == [caption.split()[0] for caption in data.captions]
    held_out = dataset.load(split="held_out")
    assert len(held_out) == found.samples["held_out"] and not set(held_out.keys) & set(dataset.load().keys)


def test_equal_sources_give_equal_bytes(folder, tmp_path):
    one, two = packed(folder, tmp_path / "a"), packed(folder, tmp_path / "b")
    for path in sorted(one.folder.glob("*.tar")):
        assert path.read_bytes() == (two.folder / path.name).read_bytes()


def test_workers_give_the_same(folder, tmp_path):
    one = packed(folder, tmp_path / "a", samples_per_shard=15)
    two = pack(
        find_sources(folder), tmp_path / "b", "mine", PackSettings(resolution=16, samples_per_shard=15), workers=2
    )
    assert one.samples == two.samples
    assert all(path.read_bytes() == (two.folder / path.name).read_bytes() for path in one.folder.glob("*.tar"))


def test_a_pack_that_was_stopped_goes_on(folder, tmp_path, monkeypatch):
    whole = packed(folder, tmp_path / "whole", samples_per_shard=10)
    real, count = packing._pack_shard, []

    def stopping(shard, out, settings):
        if len(count) == 2:
            raise KeyboardInterrupt
        count.append(shard.path)
        real(shard, out, settings)

    monkeypatch.setattr(packing, "_pack_shard", stopping)
    with pytest.raises(KeyboardInterrupt):
        packed(folder, tmp_path / "out", samples_per_shard=10)
    assert not (tmp_path / "out" / "dataset.yaml").exists()
    done = list(count)
    count.clear()
    monkeypatch.setattr(packing, "_pack_shard", lambda *args: count.append(args[0].path) or real(*args))
    found = packed(folder, tmp_path / "out", samples_per_shard=10)
    assert found.samples == whole.samples and not set(count) & set(done)
    assert all(path.read_bytes() == (found.folder / path.name).read_bytes() for path in whole.folder.glob("*.tar"))
    # Other settings are another pack.
    with pytest.raises(PackError, match="holds a pack of other images or settings"):
        packed(folder, tmp_path / "out", samples_per_shard=9)


def test_csv_and_jsonl(folder, tmp_path):
    rows = [(f"images/cat/{index:02}.png", f"no. {index}", "feline") for index in range(12)]
    table, lines = tmp_path / "list.csv", tmp_path / "list.jsonl"
    table.write_text("path,caption,label\n" + "".join(f"{p},{c},{k}\n" for p, c, k in rows))
    lines.write_text("".join(json.dumps({"image": p, "text": c, "class": k}) + "\n" for p, c, k in rows))
    for number, source in enumerate((table, lines)):
        pack(find_sources(source), tmp_path / f"out{number}", "mine", PackSettings(held_out=False))
        data = open_dataset(tmp_path / f"out{number}").load(8, "train")
        assert data.captions == tuple(f"no. {index}" for index in range(12)) and data.dataset.classes == ("feline",)
    assert torch.equal(open_dataset(tmp_path / "out0").load(8).images, open_dataset(tmp_path / "out1").load(8).images)


def test_shards_again(folder, tmp_path):
    packed(folder, tmp_path / "big", resolution=None)
    found = packed(tmp_path / "big", tmp_path / "small", resolution=8)
    assert sum(found.samples.values()) == 40 and found.classes == ("cat", "dog")
    data = open_dataset(tmp_path / "small").load(split="all")
    assert data.images.shape[-1] == 8 and "cat number 3" in data.captions


@pytest.mark.parametrize(("resize", "size"), [("center-crop", (8, 8)), ("fit", (16, 8)), ("none", (40, 20))])
def test_resize(folder, tmp_path, resize, size):
    packed(folder, tmp_path / "out", resolution=8, resize=resize)
    from builders.inspection import inspect_dataset

    assert inspect_dataset(tmp_path / "out").sizes == ((size, 40),)


def test_broken_images(folder, tmp_path):
    (folder / "cat" / "00.png").write_bytes(b"junk")
    found = packed(folder, tmp_path / "out")
    assert len(found.broken) == 1 and "cat/00.png: not a PNG" in found.broken[0]
    for path in sorted((folder / "dog").glob("*.png"))[:12]:
        path.write_bytes(b"junk")
    with pytest.raises(PackError, match=r"13 of 40 images are broken, more than are passed over \(10\)"):
        packed(folder, tmp_path / "other")


def test_command(folder, tmp_path, cli):
    code, out, err = cli("data", "pack", folder, "out", "--resolution", 16, "--licence", "CC0", "-q")
    assert code == 0 and "2 classes; 0 broken images passed over" in out and err == ""
    code, out, _ = cli("data", "inspect", "out", "--sheet", "sheet.png", "-q")
    assert code == 0 and "cat (20), dog (20)" in out and "wrote sheet.png" in out
    facts = json.loads(cli("data", "inspect", "out", "--json")[1])
    assert facts["captions"] == 40 and facts["broken"] == [] and sum(facts["samples"].values()) == 40
    assert "no --licence was given" in cli("data", "pack", folder, "other", "-q")[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "out"], "no dataset 'nowhere'"),
        (["nowhere.csv", "out"], "nowhere.csv: no such file"),
        (["bad.jsonl", "out"], "bad.jsonl, line 2: not JSON"),
        (["empty.csv", "out"], "there are no images to pack"),
        (["nopath.csv", "out"], "nopath.csv, line 2: no path of an image"),
        (["good.csv", "out", "--resize", "stretch"], "no resize mode 'stretch'"),
        (["good.csv", "out", "--resolution", "0"], "a resolution of 0 pixels"),
        (["good.csv", "full"], "full holds a dataset already"),
    ],
)
def test_mistakes(cli, arguments, message):
    from pathlib import Path

    Path("bad.jsonl").write_text('{"path": "a.png"}\n{\n')
    Path("empty.csv").write_text("path,caption\n")
    Path("nopath.csv").write_text("name,caption\nx,y\n")
    Path("good.csv").write_text("path\na.png\n")
    Path("full").mkdir()
    Path("full/x.tar").write_bytes(b"")
    code, _, err = cli("data", "pack", *arguments, "--licence", "CC0")
    assert code == 2 and message in err and "Traceback" not in err
