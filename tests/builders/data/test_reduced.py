"""Large JPEG images decoded at a smaller size: which, how near to those decoded whole, and in which runs."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from builders.checkpoints.tensor_file import read_tensors, write_tensors
from builders.data.dataset import with_reduced
from builders.data.decoding import decode_image, decode_reduced, fit, fit_random, fit_reduced
from builders.data.mixture import Mixture
from builders.data.open import open_dataset
from builders.resizing import resize_reduced
from builders.training import start
from builders.training.loop import Interrupted
from builders.training.reading.sources import Need, Needs, Sources
from specs.blocks.size import Size
from specs.recipe import load_recipe
from tests.helpers.shards import write_tar

pytestmark = pytest.mark.usefixtures("light_measures")


def picture(width, height):
    """A smooth picture with an edge, other in each corner."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    waves = 60 * np.sin(9 * x + 3 * y) + 40 * (y > 0.6 * x + 0.1)
    return Image.fromarray(np.stack([90 + waves, 200 * x, 120 + 100 * y], -1).clip(0, 255).astype(np.uint8))


def encode(image, form="JPEG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **({"quality": 92} if form == "JPEG" else {}), **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("size", "side", "scale"),
    [((256, 256), 64, 2), ((256, 256), 65, 1), ((512, 300), 32, 4), ((1030, 777), 32, 8), ((90, 200), 64, 1)],
)
def test_the_reduced_size_is_at_least_twice_the_side(size, side, scale):
    found = decode_reduced(encode(picture(*size)), "x", side)
    assert (found.scale, found.size) == (scale, size)
    assert found.image.size == tuple(-(-each // scale) for each in size)


@pytest.mark.parametrize("size", [(256, 256), (257, 301), (640, 427), (430, 703), (513, 1027)])
@pytest.mark.parametrize("corner", [None, (0.3, 0.8)])
def test_levels_are_near_those_of_images_decoded_whole(size, corner):
    content = encode(picture(*size))
    whole = decode_image(content, "x")
    for side in (16, 31, 64):
        found = decode_reduced(content, "x", side)
        assert found.scale > 1
        expected = fit(whole, side) if corner is None else fit_random(whole, side, *corner)
        error = fit_reduced(found, side, corner).astype(int) - expected
        # A shift by one reduced pixel would be 2 or more. Pillow rounds twice where factors are whole numbers.
        assert np.sqrt((error**2).mean()) < 1 and abs(error.mean()) < 0.6


def test_reduced_pixels_are_averaged_by_area():
    """Blocks of three pixels, the last of them partly outside, against the same picture with single pixels."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (14, 15, 3), dtype=np.uint8)
    large = Image.fromarray(small.repeat(3, 0).repeat(3, 1)[:41, :44])
    for box in ((0, 0, 41, 41), (3, 0, 44, 41), (2, 1, 42, 41), (7, 4, 37, 34), (3, 3, 33, 33)):
        for side in (3, 4, 5, 10):
            expected = np.asarray(large.crop(box)).astype(float)
            weights = np.zeros((side, box[2] - box[0]))
            for index in range(side):
                edges = np.clip(
                    np.arange(box[2] - box[0] + 1) * side, index * len(weights[0]), (index + 1) * len(weights[0])
                )
                weights[index] = np.diff(edges) / len(weights[0])
            average = np.einsum("iy,jx,yxc->ijc", weights, weights, expected)
            found = np.asarray(resize_reduced(Image.fromarray(small), (side, side), box, 3))
            rounded_twice = box == (3, 3, 33, 33)  # by Pillow
            assert abs(found - average).max() <= (1 if rounded_twice else 0.5) + 1e-6


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_other_formats_are_decoded_whole(form):
    assert decode_reduced(encode(picture(128, 128), form), "x", 16).scale == 1


def test_images_of_other_orientations_are_decoded_whole():
    exif = Image.Exif()
    exif[0x0112] = 6
    found = decode_reduced(encode(picture(256, 200), exif=exif), "x", 16)
    assert (found.scale, found.size, found.image.size) == (1, (200, 256), (200, 256))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    pictures = [picture(200 + 2 * n, 128 + n) for n in range(20)]
    path = tmp_path_factory.mktemp("photos") / "x.tar"
    return write_tar(path, [(f"{n:02}.jpg", encode(each)) for n, each in enumerate(pictures)])


@pytest.mark.parametrize("memory", [True, False])
def test_datasets_decode_whole_images_unless_asked(photos, memory):
    dataset = open_dataset(photos)
    whole = dataset.load(16, "all", memory=memory).batch(0, 8)
    reduced = with_reduced(dataset).load(16, "all", memory=memory).batch(0, 8)
    assert whole["key"] == reduced["key"]
    # Sizes are those of the originals.
    assert whole["scale"].tolist() == reduced["scale"].tolist() and min(whole["scale"]) >= 128
    difference = (whole["image"] - reduced["image"]) * 127.5
    assert 0 < difference.square().mean().sqrt() < 1
    assert not dataset.reduced  # unchanged


def test_training_reduces_its_own_split_alone(photos):
    dataset = open_dataset(photos)
    for data in (dataset, Mixture({"a": dataset}, {"a": 1.0})):
        for reduced in (False, True):
            sources, needs = Sources(data, reduced=reduced), Needs(Need("data", Size(16)))
            plain = (data.load(16, "train").batch(0, 4), data.load(16, "val").batch(0, 2))
            found = (sources.train(needs).first.batch(0, 4), sources.val(needs).batch(0, 2))
            assert (found[0]["image"] != plain[0]["image"]).any() == reduced
            assert not (found[1]["image"] != plain[1]["image"]).any()


def test_a_run_keeps_to_how_it_began(photos, tmp_path, monkeypatch):
    seen: list[object] = []
    make = start.Sources

    def sources(*args, **options):
        seen.extend(options.values())  # the checks before the state is read have none
        return make(*args, **options)

    monkeypatch.setattr(start, "Sources", sources)
    quiet = "every={checkpoint: 0, evaluate: 0, samples: 0, monitor: 0}"
    recipe, path = load_recipe("micro-test", [f"data={photos}", "classes=0", quiet]), tmp_path / "state.safetensors"
    for _ in range(2):
        with pytest.raises(Interrupted):
            start.train(recipe, tmp_path, stop=lambda: True)
        tensors, facts = read_tensors(path)
        standing = json.loads(facts["standing"])
        assert seen.pop() is standing["reduced"] is True and standing["noise"] == "rows"
    earlier = {name: value for name, value in standing.items() if name not in ("reduced", "noise")}
    write_tensors(path, tensors, facts | {"standing": json.dumps(earlier)})
    with pytest.raises(Interrupted):
        start.train(recipe, tmp_path, stop=lambda: True)
    assert seen == [False] and not {"reduced", "noise"} & set(json.loads(read_tensors(path)[1]["standing"]))
