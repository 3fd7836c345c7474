"""Resizing: the exact area average for any factor, the same in packing, data and evaluation."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from builders.data.decoding import fit, fit_random
from builders.data.image_folder import read_images
from builders.data.open import open_dataset
from builders.data.packing.pack import PackSettings, pack
from builders.data.packing.sources import find_sources
from builders.pictures import Canvas
from builders.resizing import is_fractional, resize
from builders.training.checks import check_same_data, data_facts
from builders.training.errors import OldStateWarning
from builders.training.state import RunProgress, TrainingState
from registry.evaluation.image_sets import open_images
from registry.evaluation.results import Protocol
from tests.helpers.shards import encode, write_tar


def noise(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def averaged(image, size):
    """Repeat every pixel so that new pixels cover whole ones, and average these."""
    pixels = np.asarray(image).astype(np.float64).repeat(size[1], 0).repeat(size[0], 1)
    return pixels.reshape(size[1], image.height, size[0], image.width, 3).mean((1, 3))


SIZES = [
    ((72, 72), (64, 64)),
    ((9, 7), (4, 3)),
    ((96, 72), (64, 64)),
    ((7, 8), (7, 3)),
    ((64, 100), (32, 33)),
    ((1, 9), (1, 4)),
    ((5, 1), (3, 1)),
    ((3, 2), (2, 1)),
    ((13, 13), (12, 1)),
]


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_any_factor_is_the_exact_area_average(old, new):
    image = noise(*old)
    found, wanted = np.asarray(resize(image, new)), averaged(image, new)
    assert found.shape == (new[1], new[0], 3) and is_fractional(*old, new)
    assert np.array_equal(found, np.floor(wanted + 0.5 + 1e-9))


def test_constant_images_stay_constant():
    for level in (0, 1, 254, 255):
        pixels = np.full((71, 67, 3), level, np.uint8)
        assert (np.asarray(resize(Image.fromarray(pixels), (64, 53))) == level).all()


def test_sums_of_long_images_are_exact():
    # 255 times the length does not fit into the whole numbers of float32.
    pixels = np.full((70_001, 1, 3), 255, np.uint8)
    pixels[-1] = 0
    found = np.asarray(resize(Image.fromarray(pixels), (1, 2)))[:, 0, 0]
    assert found.tolist() == [255, 255]
    pixels[35_000:] = 0  # half of the value in the middle
    assert np.asarray(resize(Image.fromarray(pixels), (1, 2)))[:, 0, 0].tolist() == [255, 0]
    pixels[:] = [[[3, 3, 3]]]
    pixels[::2] = 2
    assert np.asarray(resize(Image.fromarray(pixels), (1, 69_999)))[:, 0, 0].mean() == pytest.approx(2.5, abs=0.01)


@pytest.mark.parametrize(
    ("old", "new"), [((64, 64), (32, 32)), ((96, 64), (32, 64)), ((9, 3), (3, 3)), ((8, 8), (8, 8))]
)
def test_whole_factors_are_those_of_earlier_versions_to_the_bit(old, new):
    image = noise(*old)
    assert not is_fractional(*old, new)
    assert np.array_equal(resize(image, new), image.resize(new, Image.Resampling.BOX))


def test_larger_images_are_bicubic():
    for old, new in (((5, 4), (8, 8)), ((9, 4), (8, 8)), ((1, 1), (3, 3))):
        image = noise(*old)
        assert not is_fractional(*old, new)
        assert np.array_equal(resize(image, new), image.resize(new, Image.Resampling.BICUBIC))


def test_the_former_method_and_parts_of_images():
    image = noise(9, 9)
    assert np.array_equal(resize(image, (4, 4), method="box"), image.resize((4, 4), Image.Resampling.BOX))
    part = image.crop((1, 2, 8, 9))
    for size in ((7, 7), (4, 3), (7, 1)):
        assert np.array_equal(resize(image, size, (1, 2, 8, 9)), resize(part, size))
    assert resize(image, (9, 9)) is image


def test_crops_of_images_that_are_no_squares():
    image = noise(100, 72)
    assert np.array_equal(fit(image, 64), resize(image.crop((14, 0, 86, 72)), (64, 64)))
    assert np.array_equal(fit_random(image, 64, 1, 0), resize(image.crop((28, 0, 100, 72)), (64, 64)))
    assert fit(noise(50, 1), 2).shape == (2, 2, 3)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(3):
        noise(72, 72, number).save(tmp_path / "images" / f"{number}.png")
    return tmp_path / "images"


def test_packing_data_and_evaluation_resize_alike(folder, tmp_path):
    wanted = np.stack([fit(noise(72, 72, number), 64) for number in range(3)])
    packed = pack(find_sources(folder), tmp_path / "out", "x", PackSettings(resolution=64)).folder
    fitted = pack(find_sources(folder), tmp_path / "fit", "x", PackSettings(resolution=64, resize="fit")).folder
    shard = write_tar(tmp_path / "x.tar", [(f"{n}.png", encode(noise(72, 72, n))) for n in range(3)])
    found = [
        open_dataset(path).load(64, "all", memory=memory)
        for path in (packed, fitted, shard)
        for memory in (True, False)
    ]
    assert all(np.array_equal(np.moveaxis(data.first(3)[0].numpy(), 1, 3), wanted) for data in found)
    assert [data.fractional for data in found] == [False] * 4 + [True] * 2
    assert torch.equal(read_images(folder, 64)[0], found[0].images)
    mixed = open_dataset({str(packed): 1.0, str(shard): 1.0})
    assert mixed.load(64, "all").fractional and not mixed.load(36, "all").parts[1].fractional


def test_a_pack_of_an_earlier_version_keeps_its_resizing(folder, tmp_path):
    settings = PackSettings(resolution=64, samples_per_shard=1)
    found = pack(find_sources(folder), tmp_path / "out", "x", settings)
    plan = found.folder / ".pack.json"
    facts = json.loads(plan.read_text())
    assert facts["method"] == "area"
    del facts["method"]
    plan.write_text(json.dumps(facts))
    next(found.folder.glob("*0.tar")).unlink()
    pack(find_sources(folder), tmp_path / "out", "x", settings)
    first = open_dataset(found.folder).load(64, "all").images
    images = {encode(Image.fromarray(np.moveaxis(image.numpy(), 0, 2))) for image in first}
    methods = [
        sum(encode(Image.fromarray(fit(noise(72, 72, n), 64, way))) in images for n in range(3))
        for way in ("area", "box")
    ]
    assert methods == [2, 1] and json.loads(plan.read_text())["method"] == "box"


PROTOCOL = {"features": "f", "features_sha256": "", "resize": "bicubic", "resolution": 64, "samples": 2}
PROTOCOL |= {"reference": "r", "reference_count": 3, "reference_sha256": ""}


def test_measurements_name_the_resizing(folder):
    assert open_images(str(folder), 64).resizing == "area"
    assert open_images(str(folder), 36).resizing == open_images(str(folder), 100).resizing == ""
    before, now = Protocol(**PROTOCOL), Protocol(**PROTOCOL, resizing="area")
    assert before.key == "10a35d23fd51" and before.key != now.key
    assert now.title == f"{before.title}, images resized by area"


def test_a_run_of_an_earlier_version_says_that_its_images_change(tmp_path):
    path = write_tar(tmp_path / "x.tar", [("0.png", encode(noise(72, 72)))])
    facts = data_facts(open_dataset(path).load(64, "all"))
    assert facts.pop("resizing") == "area" and "resizing" not in data_facts(open_dataset(path).load(36, "all"))
    state = TrainingState(RunProgress("p"), {}, {"data": json.dumps(facts)})
    check_same_data(state, facts, tmp_path, "x")
    with pytest.warns(OldStateWarning, match="exact area average"):
        check_same_data(state, facts | {"resizing": "area"}, tmp_path, "x")


def test_pictures_shrink_by_the_area_average():
    canvas, image = Canvas(20, 20), noise(9, 9)
    tensor = torch.from_numpy(np.moveaxis(np.asarray(image), 2, 0).copy()).float() / 127.5 - 1
    canvas.image(2, 2, tensor, 4)
    assert np.array_equal(np.asarray(canvas.picture)[2:6, 2:6], resize(image, (4, 4)))
