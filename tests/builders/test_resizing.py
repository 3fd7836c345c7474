"""Resizing is the same in packing, data, evaluation and pictures, and named in measurements and packs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from builders.data.decoding import fit
from builders.data.image_folder import read_images
from builders.data.open import open_dataset
from builders.data.packing.pack import PackSettings, pack
from builders.data.packing.sources import find_sources
from builders.pictures import Canvas
from builders.resizing import resize
from builders.training.checks import check_same_data, data_facts
from builders.training.errors import OldStateWarning
from builders.training.state import RunProgress, TrainingState
from registry.evaluation.image_sets import open_images
from registry.evaluation.results import Protocol
from tests.helpers.images import noise
from tests.helpers.shards import encode, write_tar


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
