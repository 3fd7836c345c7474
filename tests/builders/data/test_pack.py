"""Packing images into shards, and inspecting the result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from builders.data.open import open_dataset
from builders.data.packing import pack as packing
from builders.data.packing.pack import PackSettings, pack
from builders.data.packing.sources import PackError, find_sources
from tests.helpers.shards import encode, write_tar


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
    held_out = dataset.load(split="val")
    assert len(held_out) == found.samples["val"] and not set(held_out.keys) & set(dataset.load().keys)


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


def test_an_interrupted_pack_resumes(folder, tmp_path, monkeypatch):
    whole = packed(folder, tmp_path / "whole", samples_per_shard=10)
    real, count = packing.pack_shard, []

    def stopping(shard, out, settings):
        if len(count) == 2:
            raise KeyboardInterrupt
        count.append(shard.path)
        real(shard, out, settings)

    monkeypatch.setattr(packing, "pack_shard", stopping)
    with pytest.raises(KeyboardInterrupt):
        packed(folder, tmp_path / "out", samples_per_shard=10)
    assert not (tmp_path / "out" / "dataset.yaml").exists()
    done = list(count)
    count.clear()
    monkeypatch.setattr(packing, "pack_shard", lambda *args: count.append(args[0].path) or real(*args))
    found = packed(folder, tmp_path / "out", samples_per_shard=10)
    assert found.samples == whole.samples and not set(count) & set(done)
    assert all(path.read_bytes() == (found.folder / path.name).read_bytes() for path in whole.folder.glob("*.tar"))
    # Other settings are refused.
    with pytest.raises(PackError, match="holds a pack of other images or settings"):
        packed(folder, tmp_path / "out", samples_per_shard=9)


def test_csv_and_jsonl(folder, tmp_path):
    rows = [(f"images/cat/{index:02}.png", f"no. {index}", "feline") for index in range(12)]
    table, lines = tmp_path / "list.csv", tmp_path / "list.jsonl"
    table.write_text("path,caption,label\n" + "".join(f"{p},{c},{k}\n" for p, c, k in rows))
    lines.write_text("".join(json.dumps({"image": p, "text": c, "class": k}) + "\n" for p, c, k in rows))
    for number, source in enumerate((table, lines)):
        pack(find_sources(source), tmp_path / f"out{number}", "mine", PackSettings(val=False))
        data = open_dataset(tmp_path / f"out{number}").load(8, "train")
        assert data.captions == tuple(f"no. {index}" for index in range(12)) and data.card.classes == ("feline",)
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
    from builders.data.inspection import inspect_dataset

    assert inspect_dataset(tmp_path / "out").sizes == ((size, 40),)


def test_broken_images(folder, tmp_path):
    (folder / "cat" / "00.png").write_bytes(b"junk")
    found = packed(folder, tmp_path / "out")
    assert len(found.broken) == 1 and "cat/00.png: not a PNG" in found.broken[0]
    for path in sorted((folder / "dog").glob("*.png"))[:12]:
        path.write_bytes(b"junk")
    with pytest.raises(PackError, match=r"13 of 40 images are broken, more than the limit of 10: "):
        packed(folder, tmp_path / "other")


def test_mended_images_are_packed_again(folder, tmp_path, monkeypatch):
    whole = packed(folder, tmp_path / "whole", samples_per_shard=10)
    content = {path: path.read_bytes() for path in sorted((folder / "dog").glob("*.png"))[:12]}
    for path in content:
        path.write_bytes(b"junk" * 10)
    out = tmp_path / "out"
    with pytest.raises(
        PackError, match=r"12 of 40 images are broken.*Fix or remove them and run the same command again"
    ):
        packed(folder, out, samples_per_shard=10)
    assert not (out / "dataset.yaml").exists()
    for path, each in content.items():
        path.write_bytes(each)
    packs = watched(monkeypatch)
    found = packed(folder, out, samples_per_shard=10)
    assert found.broken == () and found.kept == found.shards - len(packs) > 0
    for path in sorted(whole.folder.glob("*.tar")):
        assert path.read_bytes() == (out / path.name).read_bytes()
    packs.clear()
    assert packed(folder, out, samples_per_shard=10).kept == found.shards and packs == []


def watched(monkeypatch):
    """Record the names of shards that are packed from now on."""
    real, names = packing.pack_shard, []
    monkeypatch.setattr(packing, "pack_shard", lambda *given: names.append(given[0].path) or real(*given))
    return names


def test_more_broken_images_can_be_allowed_later(folder, tmp_path, monkeypatch):
    for path in sorted((folder / "dog").glob("*.png"))[:12]:
        path.write_bytes(b"junk")
    with pytest.raises(PackError, match="12 of 40"):
        packed(folder, tmp_path / "out", samples_per_shard=10)
    packs = watched(monkeypatch)
    found = packed(folder, tmp_path / "out", samples_per_shard=10, max_broken=0.5)
    assert packs == [] and sum(found.samples.values()) == 28 and len(found.broken) == 12
    assert len(open_dataset(tmp_path / "out").load(split="all")) == 28


def test_images_that_changed_meanwhile_are_not_mixed(folder, tmp_path, monkeypatch):
    real, count = packing.pack_shard, []

    def stopping(*given):
        if len(count) == 3:
            raise KeyboardInterrupt
        count.append(given[0].path)
        real(*given)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(packing, "pack_shard", stopping)
        packed(folder, tmp_path / "out", samples_per_shard=5)
    # One image and one caption change, and one image is removed.
    Image.new("RGB", (40, 20), (1, 2, 3)).save(folder / "cat" / "01.png")
    (folder / "cat" / "02.txt").write_text("a cat of note")
    for path in (folder / "dog").glob("19.*"):
        path.unlink()
    packs = watched(monkeypatch)
    found = packed(folder, tmp_path / "out", samples_per_shard=5)
    assert count[0] in packs and found.kept == 2
    whole = packed(folder, tmp_path / "whole", samples_per_shard=5)
    for name in sorted(path.name for path in whole.folder.glob("*.tar")):
        assert (whole.folder / name).read_bytes() == (found.folder / name).read_bytes()
    # A finished pack keeps its list of images, and an unfinished one its folder of images.
    (folder / "dog" / "18.png").unlink()
    with pytest.raises(PackError, match="holds a pack of other images or settings"):
        packed(folder, tmp_path / "out", samples_per_shard=5)
    (tmp_path / "out" / "dataset.yaml").unlink()
    with pytest.raises(PackError, match="holds a pack of other images or settings"):
        packed(folder / "cat", tmp_path / "out", samples_per_shard=5)
    fewer = packed(folder, tmp_path / "out", samples_per_shard=5)
    assert sum(fewer.samples.values()) == 38
    assert {path.name for path in fewer.folder.glob("*.tar")} == {
        name for split in open_dataset(fewer.folder).card.splits.values() for name in split.shards
    }


def test_broken_texts_of_shards_are_counted(folder, tmp_path):
    from tests.helpers.shards import samples

    shard = tmp_path / "x.tar"
    broken = [("bad.png", b""), ("bad.json", b"{"), ("empty.json", b"[]")]
    write_tar(shard, [*samples(6), *broken])
    found = packed(shard, tmp_path / "out", resolution=8)
    assert sum(found.samples.values()) == 6
    assert found.broken == (f"{shard}: sample 'bad': its .json is not JSON",)
    good = next(samples(1))[1]
    write_tar(shard, [*samples(6), ("bad.png", good), ("bad.json", b"{}")])
    (tmp_path / "out" / "dataset.yaml").unlink()
    assert packed(shard, tmp_path / "out", resolution=8).broken == ()


def test_odd_names(tmp_path):
    root = tmp_path / "images"
    for name in ("__a__/x.png", "a.b/c.d.png", f"{'long' * 30}/{'name' * 40}.png", "ünï/ç.png", "__a/y.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(root / name)
    found = packed(root, tmp_path / "out", resolution=None)
    assert sum(found.samples.values()) == 5 and found.broken == ()
    assert len(open_dataset(tmp_path / "out").load(8, "all")) == 5
    Image.new("RGB", (8, 8)).save(root / "a.b" / "c_d.png")
    with pytest.raises(PackError, match=r"two images have the key 'a_b/c_d': .*c\.d\.png and .*c_d\.png"):
        packed(root, tmp_path / "other")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="signals of a terminal")
def test_a_pack_with_workers_resumes_after_ctrl_c(tmp_path):
    root, out = tmp_path / "images", tmp_path / "out"
    root.mkdir()
    random = np.random.default_rng(0)
    for index in range(120):
        Image.fromarray(random.integers(0, 255, (300, 300, 3), dtype=np.uint8)).save(root / f"{index}.png")
    command = [sys.executable, "-m", "zoo", "data", "pack", root, out, "--resolution", "256", "--licence", "CC0"]
    command = [str(word) for word in [*command, "--samples", 6, "--workers", 2, "-q"]]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not list(out.glob(".*.tar.json")):
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    err = process.communicate(timeout=120)[1]
    assert process.returncode == 130 and err.strip() == "interrupted"
    assert not list(out.glob(".*.tmp")) and not (out / "dataset.yaml").exists()
    again = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0 and "shards reused" in again.stdout and again.stderr == ""
    whole = pack(find_sources(root), tmp_path / "whole", "x", PackSettings(256, samples_per_shard=6))
    for path in whole.folder.glob("*.tar"):
        assert path.read_bytes() == (out / path.name).read_bytes()


def die(*given):
    os._exit(1)


def test_a_process_that_is_killed(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "pack_until_stopped", die)
    with pytest.raises(PackError, match="a worker process died.*fewer --workers to resume"):
        pack(find_sources(folder), tmp_path / "out", "x", workers=1)


def test_inspecting_what_cannot_be_read_says_so_to_scripts(tmp_path, cli):
    path = tmp_path / "none.tar"
    path.write_bytes(b"junk" * 300)
    assert cli("data", "inspect", path)[0] == 1 == cli("data", "inspect", path, "--json")[0]


def test_texts_that_are_not_unicode(tmp_path, cli):
    from tests.helpers.shards import samples

    text = rb'{"caption": "\ud800 x", "category": "\ud801", "group": "\ud802"}'
    image = encode(Image.new("RGB", (8, 8)))
    shard = write_tar(
        tmp_path / "x.tar", [*samples(3), ("b.png", image), ("b.json", text), ("c\udcff.png", image[:20])]
    )
    code, out, _ = cli("data", "inspect", shard)
    assert (
        code == 0
        and "4 (about one in ten is in val)" in out
        and "? (1)" in out
        and "broken: " in out
        and r"c\udcff.png" in out
    )
    assert cli("data", "inspect", shard, "--json")[0] == 0
    assert cli("data", "pack", shard, "out", "-q", "--licence", "CC0")[0] == 0
    assert cli("data", "encode", "out", "states", "-q")[0] == 0


def test_tables_of_many_editors(folder, tmp_path):
    name = "images/cat/01.png"
    (tmp_path / "bom.csv").write_bytes(f'\ufeffpath,caption\n{name},"two\nlines"\n,x\n'.encode())
    with pytest.raises(PackError, match=r"bom\.csv, line 4: no image path"):
        find_sources(tmp_path / "bom.csv")
    (tmp_path / "bom.csv").write_bytes(f'\ufeffpath,caption\n{name},"two\nlines"\n'.encode())
    assert [source.caption for source in find_sources(tmp_path / "bom.csv")] == ["two\nlines"]
    line = json.dumps({"path": name, "caption": "a\u2028b"}, ensure_ascii=False)
    (tmp_path / "bom.jsonl").write_bytes(f"\ufeff{line}\r\n".encode())
    assert [source.caption for source in find_sources(tmp_path / "bom.jsonl")] == ["a\u2028b"]
    (tmp_path / "latin.csv").write_bytes("path,caption\na.png,é\n".encode("latin1"))
    with pytest.raises(PackError, match=r"latin\.csv: not UTF-8 .*save it as UTF-8"):
        find_sources(tmp_path / "latin.csv")


def test_images_too_long_to_fit(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    Image.new("RGB", (1, 40_000)).save(root / "a.png")
    Image.new("RGB", (8, 8)).save(root / "b.png")
    found = packed(root, tmp_path / "out", resolution=512, resize="fit")
    assert len(found.broken) == 1 and "512x20480000 pixels when resized" in found.broken[0]


def test_command(folder, tmp_path, cli):
    code, out, err = cli("data", "pack", folder, "out", "--resolution", 16, "--licence", "CC0", "-q")
    assert code == 0 and "2 classes; 0 broken images skipped" in out and err == ""
    code, _, err = cli("data", "inspect", "out", "--sheet", "sheet.mp4", "-q")
    assert code == 2 and "--sheet sheet.mp4: a contact sheet is written as .png" in err
    code, out, _ = cli("data", "inspect", "out", "--sheet", "sheet.png", "-q")
    assert code == 0 and "cat (20), dog (20)" in out and "wrote sheet.png" in out
    assert "16x16 (40)" in out and "; from" not in out  # a range only of several sizes
    facts = json.loads(cli("data", "inspect", "out", "--json")[1])
    assert facts["captions"] == 40 and facts["broken"] == [] and sum(facts["samples"].values()) == 40
    assert "no --licence; 'not stated' is recorded" in cli("data", "pack", folder, "other", "-q")[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "out"], "no dataset 'nowhere'"),
        (["nowhere.csv", "out"], "nowhere.csv: no such file"),
        (["bad.jsonl", "out"], "bad.jsonl, line 2: not JSON"),
        (["empty.csv", "out"], "there are no images to pack"),
        (["nopath.csv", "out"], "nopath.csv: no column of image paths; its columns are 'name', 'caption'"),
        (["good.csv", "out", "--resize", "stretch"], "no resize mode 'stretch'"),
        (["good.csv", "out", "--resolution", "0"], "the resolution must be from 1 to 8192 pixels, not 0"),
        (["good.csv", "full"], "full already holds a dataset"),
        (["good.csv", "out"], "the only image is broken: a.png: No such file"),
        (["twice.csv", "out"], "two images have the key 'a'"),
        (["good.csv", "good.csv/x"], "good.csv/x: Not a directory"),
        (["pictures", "pictures"], "pictures: is the source"),
        (["pictures", "out"], "pictures: no images"),
        (["nul.jsonl", "out"], r"a\x00b.png: embedded null byte"),
        (["memory://none.tar", "out"], "memory://none.tar: cannot be fetched"),
        (["good.csv", "out", "--caption", "captoin"], "good.csv: no caption column 'captoin'"),
        (["good.csv", "out", "--group", "family"], "good.csv: no group column 'family'"),
        (["lists.jsonl", "out"], "lists.jsonl, line 1: 'caption' is a list or a mapping; a caption must be one text"),
        (["odd.jsonl", "out"], "the only image is broken: a.png"),
        (["odd.jsonl", "out", "--label", "label"], "odd.jsonl, line 1: 'label' is a list or a mapping"),
        (
            ["same.csv", "out"],
            "same.csv, line 3: a.png is listed twice (also in line 2); an image has one caption and one label",
        ),
        (["pictures-of", "out", "--label", "kind"], "pictures-of: no image has a 'kind', which --label names"),
        (["good.csv", "out", "--workers", "-1"], "--workers must be at least 0 (0 packs in this process), not -1"),
        (["good.csv", "out", "--max-broken", "nan"], "--max-broken must be a share of the images from 0 to 1, not nan"),
    ],
)
def test_mistakes(cli, arguments, message):
    from pathlib import Path

    Path("bad.jsonl").write_text('{"path": "a.png"}\n{\n')
    Path("empty.csv").write_text("path,caption\n")
    Path("nopath.csv").write_text("name,caption\nx,y\n")
    Path("good.csv").write_text("path\na.png\n")
    Path("twice.csv").write_text("path\na.png\na.jpg\n")
    Path("nul.jsonl").write_text('{"path": "a\\u0000b.png"}')
    Path("lists.jsonl").write_text('{"path": "a.png", "caption": ["x", "y"]}\n')
    Path("odd.jsonl").write_text('{"path": "a.png", "caption": ["y"], "text": "x", "label": [1, 2]}\n')
    Path("same.csv").write_text("path,caption\na.png,x\na.png,y\n")
    Path("pictures").mkdir()
    Path("pictures-of").mkdir()
    Image.new("RGB", (8, 8)).save("pictures-of/b.png")
    Path("full").mkdir()
    Path("full/x.tar").write_bytes(b"")
    code, _, err = cli("data", "pack", *arguments, "--licence", "CC0")
    assert code == 2 and message in err and "Traceback" not in err
