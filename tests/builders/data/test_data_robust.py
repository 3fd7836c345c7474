"""Unusual and broken images, broken and hostile shards, mixtures, and crops."""

from __future__ import annotations

import io
import pickle
import tarfile
import tempfile
import warnings
from contextlib import nullcontext
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from webdataset.tariterators import group_by_keys, tar_file_expander

from builders.data.decoding import decode_image
from builders.data.error_budget import BrokenDataWarning
from builders.data.errors import DataError, EmptySplitError
from builders.data.inspection import inspect_dataset
from builders.data.open import open_dataset
from builders.data.recognition.left_out import LeftOutWarning
from builders.data.sample_order import SampleOrder
from builders.data.shards import IMAGES, read_shard
from builders.training.batches import read_batches
from tests.helpers.shards import encode, samples, write_tar
from zoo import cli

PIXEL = encode(Image.new("RGB", (8, 8), (10, 20, 30)))


def tiff_free(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def gradient(mode="RGB", size=(16, 8)):
    ramp = np.linspace(0, 255, size[0], dtype=np.uint8)
    return Image.fromarray(np.tile(ramp, (size[1], 1))).convert(mode)


def test_one_pixel():
    assert decode_image(encode(Image.new("RGB", (1, 1), (1, 2, 3))), "x").getpixel((0, 0)) == (1, 2, 3)


def test_cmyk():
    image = decode_image(tiff_free(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), format="JPEG"), "x")
    assert image.mode == "RGB" and image.getpixel((4, 4))[0] > 200 and max(image.getpixel((4, 4))[1:]) < 60


def test_palette_with_transparency():
    image = Image.new("P", (8, 8), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    content = tiff_free(image, format="PNG", transparency=0)
    assert decode_image(content, "x").getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_and_not_cut():
    levels = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    content = tiff_free(Image.fromarray(levels), format="PNG")
    assert [decode_image(content, "x").getpixel((x, 0))[0] for x in range(4)] == [0, 1, 128, 255]


def test_exif_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    content = tiff_free(gradient(), format="JPEG", exif=exif.tobytes(), quality=95)
    image = decode_image(content, "x")
    assert image.size == (8, 16)
    assert image.getpixel((4, 0))[0] < 40 and image.getpixel((4, 15))[0] > 215


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_animations_give_their_first_frame(form):
    frames = [Image.new("RGB", (8, 8), color) for color in ((250, 0, 0), (0, 0, 250))]
    buffer = io.BytesIO()
    frames[0].save(
        buffer, form, save_all=True, append_images=frames[1:], **({"lossless": True} if form == "WEBP" else {})
    )
    red, _, blue = decode_image(buffer.getvalue(), "x").getpixel((4, 4))
    assert red > 200 and blue < 50


def shard(path, good, broken=0):
    members = list(samples(good))
    members += [(f"bad{index}.png", PIXEL[: 20 + index]) for index in range(broken)]
    return write_tar(path, members)


def test_few_broken_samples_are_skipped_and_named(tmp_path):
    path = shard(tmp_path / "x.tar", 30, 3)
    with pytest.warns(BrokenDataWarning, match=r"x: skipped 3 broken samples: .*bad0\.png.*bad2\.png"):
        data = open_dataset(path).load(8, "all")
    assert len(data) == 30


def test_many_broken_samples_are_an_error(tmp_path):
    path = shard(tmp_path / "x.tar", 30, 11)
    message = r"x: 11 of 41 samples are broken, more than the limit of 10: .*bad0\.png.*; and 6 more"
    with pytest.raises(DataError, match=message):
        open_dataset(path).load(8, "all")


def test_one_broken_shard_of_many(tmp_path):
    for index in range(10):
        shard(tmp_path / f"{index}.tar", 4)
    whole = (tmp_path / "3.tar").read_bytes()
    (tmp_path / "3.tar").write_bytes(whole[:1500])
    with pytest.warns(BrokenDataWarning, match=r"skipped 1 broken shard: .*3\.tar: the tar file is cut off"):
        data = open_dataset(tmp_path).load(8, "all")
    assert len(data) == 36
    (tmp_path / "4.tar").write_bytes(b"junk" * 500)
    with pytest.raises(DataError, match=r"2 of 10 shards are broken, more than 10%: .*3\.tar.*4\.tar: not a tar file"):
        open_dataset(tmp_path).load(8, "all")


@pytest.mark.parametrize("content", [b"", bytes(10240), b"\0" * 512, b"junk" * 1000])
def test_empty_and_junk_shards(tmp_path, content):
    (tmp_path / "x.tar").write_bytes(content)
    for memory in (None, False):
        with pytest.raises(DataError, match=r"not a tar file|no images|cut off"):
            open_dataset(tmp_path / "x.tar").load(8, "all", memory=memory)


def test_a_hostile_shard_is_never_skipped(tmp_path):
    for index in range(20):
        shard(tmp_path / f"{index}.tar", 4)
    write_tar(tmp_path / "5.tar", [("../../evil.png", PIXEL)])
    for memory in (None, False):
        with pytest.raises(DataError, match="unsafe member name"):
            open_dataset(tmp_path).load(8, "all", memory=memory)


class Trap:
    def __reduce__(self):
        return (open, ("trapped", "w"))


def test_pickles_and_links_do_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trap = pickle.dumps(Trap())
    with tarfile.open("x.tar", "w") as tar:
        for name, content in [("a.png", PIXEL), ("a.pyd", trap), ("a.pkl", trap), ("a.pth", trap), ("a.npy", trap)]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("b.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    for memory in (None, False):
        with pytest.warns(LeftOutWarning, match=r"x: left out links: 1 \(b\.png\)$"):
            data = open_dataset(tmp_path / "x.tar").load(8, "all", memory=memory)
        assert len(data) == 1
    assert inspect_dataset("x.tar").left_out == (
        ".pyd members: 1 (a.pyd)", ".pkl members: 1 (a.pkl)", ".pth members: 1 (a.pth)", ".npy members: 1 (a.npy)",
        "links: 1 (b.png)",
    )  # fmt: skip
    assert not (tmp_path / "trapped").exists()


# Read as drawn


def test_lazy_is_as_in_memory(tmp_path):
    path = shard(tmp_path / "x.tar", 25)
    dataset = open_dataset(path)
    memory, lazy = (dataset.load(8, "train", seed=3, memory=choice) for choice in (True, False))
    assert len(memory) == len(lazy)
    for start in (0, 7, 60):
        a, b = memory.batch(start, 9, flip=True), lazy.batch(start, 9, flip=True)
        assert torch.equal(a["image"], b["image"]) and a["key"] == b["key"] and a["caption"] == b["caption"]
        assert torch.equal(a["classes"], b["classes"]) and torch.equal(a["scale"], b["scale"])
    assert torch.equal(memory.first(5)[0], lazy.first(5)[0]) and torch.equal(memory.classes, lazy.classes)
    whole = torch.cat([batch["index"] for batch in lazy.in_order(4)])
    assert whole.tolist() == list(range(len(lazy)))


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_lazy_reads_compressed_shards_and_survives_pickling(tmp_path, mode):
    path = write_tar(tmp_path / ("x.tar.gz" if mode == "w:gz" else "x.tar"), samples(6), mode)
    data = open_dataset(path).load(8, "all", memory=False)
    again = pickle.loads(pickle.dumps(data))
    assert torch.equal(data.batch(2, 9)["image"], again.batch(2, 9)["image"])


@pytest.mark.filterwarnings("ignore::builders.data.error_budget.BrokenDataWarning")
def test_lazy_skips_broken_images_and_ends(tmp_path):
    data = open_dataset(shard(tmp_path / "x.tar", 30, 3)).load(8, "all", memory=False)
    with pytest.warns(BrokenDataWarning) as seen:
        keys = [key for start in range(0, 66, 11) for key in data.batch(start, 11)["key"]]
    assert sorted(str(each.message).rpartition("x.tar: ")[2][:8] for each in seen) == [
        "bad0.png",
        "bad1.png",
        "bad2.png",
    ]
    assert all(str(each.message).startswith("x: skipped a broken image: ") for each in seen)
    # One warning per image and process, also when the data is opened again.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_dataset(tmp_path / "x.tar").load(8, "all", memory=False).batch(0, 66)
    assert len(keys) == 66 and not any(key.startswith("bad") for key in keys) and len(data.broken) == 3
    bad = open_dataset(shard(tmp_path / "y.tar", 3, 12)).load(8, "all", memory=False)
    for warned in (pytest.warns(BrokenDataWarning), nullcontext()):
        with warned, pytest.raises(DataError, match=r"y: 11 of 15 samples are broken, more than the limit of 10"):
            bad.batch(0, 15)
    none = open_dataset(shard(tmp_path / "z.tar", 0, 3)).load(8, "all", memory=False)
    for warned in (pytest.warns(BrokenDataWarning), nullcontext()):
        with warned, pytest.raises(DataError, match="z: 3 of 3 samples are broken: "):
            none.batch(0, 1)


class Plan:
    """A plan of batches whose batch is the data of the step."""

    def read(self, step, data):
        return data.batch(step * 4, 4)

    def assemble(self, step, drawn):
        return drawn


@pytest.mark.filterwarnings("default::builders.data.error_budget.BrokenDataWarning")
def test_processes_that_read_ahead_name_what_is_broken(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(warnings, "showwarning", cli._show_warning)
    shard(tmp_path / "some.tar", 6, 2)
    shard(tmp_path / "all.tar", 0, 12)
    some = open_dataset(tmp_path / "some.tar").load(8, "all", memory=False)
    batches = list(read_batches(Plan(), some, 0, 4, workers=2))
    assert [b["key"] for b in batches] == [some.batch(4 * step, 4)["key"] for step in range(4)]
    err = capfd.readouterr().err
    assert "skipped a broken image" in err and "bad0.png" in err and "bad1.png" in err
    none = open_dataset(tmp_path / "all.tar").load(8, "all", memory=False)
    with pytest.raises(DataError, match=r"^all: 11 of 12 samples are broken, more than the limit of 10") as caught:
        list(read_batches(Plan(), none, 0, 4, workers=2))
    assert "\n" not in str(caught.value)


# Texts


def test_broken_texts_count_as_samples_in_every_reader(tmp_path):
    members = [*samples(30), ("bad0.png", PIXEL), ("bad0.json", b"{"), ("bad1.json", b"[]"), ("bad1.png", PIXEL)]
    path = write_tar(tmp_path / "x.tar", members)
    dataset = open_dataset(path)
    assert dataset.classes == ("cat", "dog")
    found = []
    for memory in (True, False):
        message = (
            r"x: skipped 2 broken samples: .*x\.tar: sample 'bad0': its .json is not JSON; .*'bad1': .* no? mapping"
        )
        with pytest.warns(BrokenDataWarning, match=message.replace("no? ", "not a ")):
            data = dataset.load(8, "all", memory=memory)
        found.append([key for batch in data.in_order(7) for key in batch["key"]])
    assert found[0] == found[1] and len(found[0]) == 30
    report = inspect_dataset(path)
    assert report.samples == {"all": 30} and len(report.broken) == 2 and "'bad0'" in report.broken[0]
    write_tar(path, [*samples(30), *((f"bad{n}.{end}", b"{") for n in range(11) for end in ("png", "json"))])
    for memory in (True, False):
        with pytest.raises(DataError, match=r"x: 11 of 41 samples are broken, more than the limit of 10"):
            open_dataset(path).load(8, "all", memory=memory)
    # Errors of texts and of images share one budget.
    write_tar(path, [*samples(9), *((f"bad{n}.{end}", b"{") for n in range(6) for end in ("png", "json")),
                     *((f"junk{n}.png", b"junk") for n in range(6))])  # fmt: skip
    with pytest.raises(DataError, match="12 of 21 samples"):
        open_dataset(path).load(8, "all", memory=True)
    with pytest.warns(BrokenDataWarning), pytest.raises(DataError, match="11 of 21 samples"):
        open_dataset(path).load(8, "all", memory=False).batch(0, 15)


def test_archives_under_other_names(tmp_path):
    for name, mode in (("x.tar", "w:gz"), ("y.tgz", "w"), ("z.tar", "w:xz")):
        dataset = open_dataset(write_tar(tmp_path / name, samples(6), mode))
        batches = [dataset.load(8, "all", memory=memory).batch(0, 6) for memory in (True, False)]
        assert torch.equal(batches[0]["image"], batches[1]["image"]) and batches[0]["key"] == batches[1]["key"]


def test_a_shard_that_goes_away_is_an_error(tmp_path):
    path = shard(tmp_path / "x.tar", 20)
    data = open_dataset(path).load(8, "all", memory=False)
    path.unlink()
    with pytest.warns(BrokenDataWarning), pytest.raises(DataError, match="11 of 20 samples are broken.*No such file"):
        data.batch(0, 20)


def known(name):
    """Return whether the extension of a member is read."""
    return name.rpartition(".")[2].lower() in ("json", "txt", "cls", *IMAGES)


NAMES = ["a", "b", ".h", "a.b", "d/a", "d.e/a", "__m__/a", "__a__", "./a"]


@pytest.mark.filterwarnings("ignore::builders.data.recognition.left_out.LeftOutWarning")
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(NAMES), st.sampled_from(["png", "PNG", "jpg", "seg.png", "json", "txt", "cls", "npy"])
        ),
        max_size=8,
    ),
    st.sampled_from(["w", "w:gz"]),
)
def test_readers_see_the_same_samples(names, mode):
    with tempfile.TemporaryDirectory() as folder:
        members = [(f"{name}.{end}", {"cls": b"7", "json": b"{}", "txt": b"x"}.get(end, PIXEL)) for name, end in names]
        path = write_tar(Path(folder) / "x.tar", members, mode)
        outcomes = []
        for memory in (True, False):
            try:
                data = open_dataset(path).load(8, "all", memory=memory)
                outcomes.append(
                    [(*pair,) for b in data.in_order(9) for pair in zip(b["key"], b["classes"].tolist(), strict=True)]
                )
            except DataError as error:  # in words of their own
                outcomes.append(type(error))
        assert outcomes[0] == outcomes[1]
        if [*map(simple, names)].count(False) or not neighbours(names):
            return  # what goes beyond webdataset
        with path.open("rb") as stream:
            try:
                samples = list(group_by_keys(tar_file_expander([{"url": "x", "stream": stream}], select_files=known)))
                keys = [sample["__key__"] for sample in samples if set(sample) & set(IMAGES)] or EmptySplitError
            except ValueError:  # two members of one name
                keys = DataError
        assert keys == (outcomes[0] if isinstance(outcomes[0], type) else [key for key, _ in outcomes[0]])
        if isinstance(keys, list) and all(sum(name in IMAGES for name in sample) == 1 for sample in samples):
            plain = [{k: v for k, v in sample.items() if k not in ("__url__", "__local_path__")} for sample in samples]
            assert list(read_shard(path)) == plain


def simple(name):
    """Return whether a member has one dot."""
    return "." not in name[1] and "." not in name[0].removeprefix("./").rpartition("/")[2]


def neighbours(names):
    """Return whether all members with one key are neighbours."""
    runs = [name for name, _ in groupby(name for name, _ in names)]
    return len(runs) == len(set(runs))


def test_random_crops(tmp_path):
    content = encode(gradient(size=(64, 16)))
    path = write_tar(tmp_path / "x.tar", [(f"{index}.png", content) for index in range(8)])
    data = open_dataset(path).load(16, "all", crop="random", seed=1)
    first, again = data.batch(5, 8), data.batch(5, 8)
    assert torch.equal(first["image"], again["image"])
    means = first["image"].mean((1, 2, 3))
    assert means.std() > 0.05 and (first["scale"] == 16).all()
    # A sample does not depend on where its batch begins.
    assert torch.equal(data.batch(6, 1)["image"][0], first["image"][1])
    centred = open_dataset(path).load(16, "all")
    assert centred.batch(0, 8)["image"].mean((1, 2, 3)).std() < 1e-6


def test_scale_is_the_original_side(tmp_path):
    content = [encode(Image.new("RGB", size)) for size in ((40, 20), (8, 8))]
    path = write_tar(tmp_path / "x.tar", [(f"{index}.png", each) for index, each in enumerate(content)])
    for memory in (True, False):
        batch = next(open_dataset(path).load(16, "all", memory=memory).in_order(2))
        assert batch["scale"].tolist() == [20, 8]


# Mixtures


def test_order_is_a_function_of_seed_and_position():
    whole = SampleOrder(7, seed=4).draw(0, 30)[0]
    for start in range(0, 30, 5):
        assert torch.equal(SampleOrder(7, seed=4).draw(start, 5)[0], whole[start : start + 5])
    assert sorted(whole[7:14].tolist()) == list(range(7))
    assert not torch.equal(SampleOrder(7, seed=5).draw(0, 30)[0], whole)
