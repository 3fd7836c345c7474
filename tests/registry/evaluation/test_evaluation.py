"""Evaluation from samples to a stored measurement, with features made up; and the command line."""

from __future__ import annotations

import json

import pytest
import torch

import zoo
from builders.checkpoints.weights import save_weights
from builders.pictures import save_image
from builders.pixels import to_pil
from registry.evaluation import evaluate as evaluation
from registry.evaluation import results
from registry.evaluation.evaluate import compare, draw_samples, evaluate_images, evaluate_model
from registry.evaluation.feature_cache import reference_features
from registry.evaluation.features import EvaluationError
from registry.evaluation.image_sets import ImageSet, names_images, open_images
from registry.evaluation.results import Measurement, Metric, measurements, save
from specs.schemas.evaluation import EvaluationSpec
from tests.helpers.images import read_image
from tests.helpers.measured import extractor, measurement

SPEC = EvaluationSpec(samples=12, num_inference_steps=2, features="made_up")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def images(count=20, seed=0, name="some", side=16):
    generator = torch.Generator().manual_seed(seed)
    return ImageSet(name, "", torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator))


@pytest.fixture
def weights(tmp_path):
    model = zoo.build("mdm-micro")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.05, generator=torch.Generator().manual_seed(parameter.numel()))
    path = tmp_path / "weights.safetensors"
    save_weights(path, model.graph, model.state_dict(), {"data": "noto-emoji-64", "step": "7"})
    return path


def test_images_against_images():
    found = evaluate_images(images(), images(30, seed=1, name="real"), extractor())
    assert list(found.metrics) == ["kid_made_up", "fd_made_up"]  # KID first: few samples
    assert "20 samples: below 5,000, fd_made_up depends on the number of samples" in found.warnings[0]
    assert (found.protocol.samples, found.protocol.reference_count, found.protocol.resolution) == (20, 30, 16)
    assert found.environment["hardware"] and found.environment["version.torch"]
    assert found.metrics["fd_made_up"].low < found.metrics["fd_made_up"].value < found.metrics["fd_made_up"].high


def test_how_samples_are_drawn_is_written_beside_the_number(weights, monkeypatch):
    from registry import weights as registry_weights

    plain = SPEC.drawn
    assert plain == {"sampler": "ddim", "num_inference_steps": 2, "guidance_scale": 1.0, "seed": 0}
    changed = {"guidance_scale": 3.0, "guidance_interval": (0.1, 0.6), "eta": 0.5, "dynamic_threshold": 0.99}
    spec = EvaluationSpec(**{**dict(SPEC), **changed})
    model, metadata = registry_weights.load_weights(str(weights))
    received = {}

    def listening(model, context, process, settings, **given):
        received.update(settings.model_dump())
        return [torch.rand(len(given["seeds"]), 3, side, side) for side in (16, 8)]

    monkeypatch.setattr("builders.sampling.generation.sample", listening)
    found, _ = evaluate_model(model, metadata, images(), extractor(), spec)
    assert found.sampler == spec.drawn
    assert {name: received[name] for name in changed} == changed and received["clip"] is True
    assert spec.drawn == plain | changed | {"guidance_interval": [0.1, 0.6]}
    words = results.how_drawn(spec.drawn)
    assert words == "ddim, 2 steps, guidance 3, guidance interval 0.1 to 0.6, eta 0.5, dynamic threshold 0.99"
    assert results.how_drawn(EvaluationSpec(clip=False).drawn) == "ddim, 50 steps, guidance 1, not clipped"


def test_with_many_samples_the_frechet_distance_comes_first(monkeypatch):
    monkeypatch.setattr(evaluation, "FEW", 10)
    found = evaluate_images(images(), images(30, seed=1), extractor())
    assert list(found.metrics) == ["fd_made_up", "kid_made_up"] and found.warnings == ()


def test_model(weights):
    from registry.weights import load_weights

    model, metadata = load_weights(str(weights))
    reference = open_images("noto-emoji-64", 16)
    found, drawn = evaluate_model(model, metadata, reference, extractor(), SPEC)
    assert drawn.images.shape == (12, 3, 16, 16) and drawn.images.dtype == torch.uint8
    assert (found.entry, found.hash, found.weights) == ("mdm-micro", model.graph.hash, metadata["content"][:16])
    assert (found.training_step, found.data_licence) == (7, "Apache-2.0")
    again, _ = evaluate_model(model, metadata, reference, extractor(), SPEC)
    assert again.metrics == found.metrics and again.key == found.key


def test_classes_are_drawn_as_in_the_reference(weights, monkeypatch):
    from builders.sampling import generation
    from registry.weights import load_weights

    model, _ = load_weights(str(weights))
    asked = []
    draw = generation.draw
    monkeypatch.setattr(
        generation, "draw", lambda m, request, *a, **k: asked.append(request) or draw(m, request, *a, **k)
    )
    reference = images(10)
    counts = (5, 0, 0, 0, 1, 0, 0, 0, 0, 0)
    draw_samples(model, ImageSet("r", "", reference.images, class_counts=counts), SPEC)
    assert asked[0].classes == (0,) * 10 + (4,) * 2 and asked[0].seeds == tuple(range(12))


def test_references_are_cached(cache):
    calls = []
    counted = extractor()
    run = counted.run
    object.__setattr__(counted, "run", lambda x: calls.append(len(x)) or run(x))
    first = reference_features(images(), counted)
    assert (reference_features(images(), counted) == first).all() and len(calls) == 1
    # Other pixels, another set; a damaged file is replaced.
    reference_features(images(seed=3), counted)
    assert len(calls) == 2
    for path in cache.iterdir():
        path.write_bytes(b"junk")
    assert (reference_features(images(), counted) == first).all() and len(calls) == 3


@pytest.mark.parametrize("count", [0, 1])
def test_too_few(count):
    with pytest.raises(EvaluationError, match="a distance needs at least two"):
        evaluate_images(images(count), images(), extractor())


def test_no_value_that_is_not_finite_is_stored(tmp_path):
    bad = measurement("mdm-micro", metrics={"fd_made_up": Metric(value=float("nan"))})
    with pytest.raises(ValueError, match="fd_made_up is not finite"):
        save(bad, tmp_path)
    assert list(tmp_path.glob("*.json")) == []


def test_store(tmp_path):
    first, other = measurement("mdm-micro"), measurement("mdm-micro", weights="v" * 16)
    assert save(first, tmp_path) == save(first, tmp_path) != save(other, tmp_path)
    assert measurements([tmp_path]) == (first, other) or measurements([tmp_path]) == (other, first)
    assert Measurement.model_validate_json(save(first, tmp_path).read_text()) == first
    (tmp_path / "bad.json").write_text('{"protocol": 1}')
    with pytest.raises(ValueError, match=r"bad\.json: not a measurement: protocol"):
        measurements([tmp_path])


def test_an_earlier_measurement_is_found(tmp_path):
    spec = EvaluationSpec(samples=100, num_inference_steps=10, features="made_up")
    made = measurement("mdm-micro")
    made = made.model_copy(update={"sampler": made.sampler | {"text_encoder": "e" * 16}})
    save(made, tmp_path)
    assert results.find("mdm-micro", "w" * 16, spec, tmp_path) == made
    changes = [{"samples": 99}, {"split": "val"}, {"features": "inception"}, {"resize": "bilinear"}, {"seed": 1}]
    changes += [{"sampler": "dpm++"}, {"eta": 0.5}, {"num_inference_steps": 11}]
    for change in changes:
        assert results.find("mdm-micro", "w" * 16, spec.model_copy(update=change), tmp_path) is None
    assert results.find("mdm-micro", "v" * 16, spec, tmp_path) is None
    assert results.find("mdm-nano", "w" * 16, spec, tmp_path) is None
    internal = made.model_copy(update={"protocol": made.protocol.model_copy(update={"resize": "internal"})})
    save(internal, tmp_path / "internal")
    bilinear = spec.model_copy(update={"resize": "bilinear"})
    assert results.find("mdm-micro", "w" * 16, bilinear, tmp_path / "internal") == internal


def test_protocols_differ_in_all_that_matters():
    from tests.helpers.measured import PROTOCOL

    changes = {"samples": 7, "resize": "none", "features_sha256": "2", "reference_sha256": "3", "resolution": 8}
    keys = {PROTOCOL.model_copy(update={name: value}).key for name, value in changes.items()}
    assert len(keys | {PROTOCOL.key}) == len(changes) + 1


def test_comparison_needs_equal_features():
    with pytest.raises(ValueError):
        compare(torch.rand(9, 6).numpy(), torch.rand(9, 5).numpy(), extractor())


@pytest.mark.parametrize(
    ("samples", "reference", "counted"), [(9, 4, "4 images of the reference"), (4, 9, "4 samples"), (9, 9, "9 samples")]
)
def test_warnings_name_the_smaller_of_both_sets(samples, reference, counted):
    made = torch.rand(18, 12).numpy()
    few, singular = compare(made[:samples], made[-reference:], extractor(12)).warnings
    assert few.startswith(f"{counted}: below 5,000")
    assert singular == f"the covariance of {counted} in 12 features is singular"


def test_zeros_at_the_end_of_a_number_are_shown():
    from zoo.commands.evaluate import _digits

    assert [_digits(value) for value in (0.617, 261.9, 12345.6, 3.0, -2e-07)] == [
        "0.61700", "261.90", "12346", "3.0000", "-2.0000e-07",
    ]  # fmt: skip


def test_command(weights, cli, monkeypatch, tmp_path):
    monkeypatch.setattr("registry.evaluation.measure.open_features", lambda *a, **k: extractor())
    out = tmp_path / "out"
    code, text, err = cli("evaluate", weights, "-n", 8, "--steps", 2, "-o", out, "-q")
    assert code == 0, err
    assert "kid_made_up" in text and "8 samples against noto-emoji-64 train (1,722) at 16 px" in text
    assert "warning: 8 samples" in err
    (path,) = out.glob("*.json")
    assert read_image(path.with_suffix(".png")).width > 100
    code, text, _ = cli("evaluate", weights, "-n", 8, "--steps", 2, "-o", out, "--json")
    assert code == 0 and json.loads(text)["metrics"]["fd_made_up"]["value"] > 0
    assert len(list(out.glob("*.json"))) == 1
    (found,) = measurements([out])
    assert results.measurements([out])[0].entry == found.entry == "mdm-micro"


def test_a_folder_that_cannot_be_written_is_said_before_the_work(weights, cli, monkeypatch, tmp_path):
    def never(*args, **kwargs):
        raise AssertionError("worked")

    monkeypatch.setattr("registry.evaluation.measure.open_features", never)
    (tmp_path / "file").write_text("")
    code, out, err = cli("evaluate", weights, "-n", 8, "-o", tmp_path / "file" / "results", "-q")
    assert (code, out) == (2, "") and "file" in err and "Traceback" not in err


def test_weights_of_a_mixture_say_its_parts(tmp_path):
    from registry.weights import data_of, training_data

    mixture = {"data": "noto-emoji-64+more", "recipe": json.dumps({"data": {"noto-emoji-64": 1.0, "more": 2.0}})}
    assert data_of(mixture) == {"noto-emoji-64": 1.0, "more": 2.0}
    assert data_of({"data": "noto-emoji-64", "recipe": '{"data": "noto-emoji-64"}'}) == "noto-emoji-64"
    assert data_of({}) is None and training_data({}) is None
    whole = {"data": "noto-emoji-64", "recipe": json.dumps({"data": {"noto-emoji-64": 1.0}})}
    assert training_data(whole) is not None


def test_prompts_are_drawn_with_a_recorded_encoder():
    from registry.weights import load_weights

    model, metadata = load_weights("mdm-nano.text")
    reference = ImageSet("r", "", images(10, side=64).images, captions=("a heart", "a cat"))
    spec = SPEC.model_copy(update={"samples": 2, "num_inference_steps": 1})
    found, drawn = evaluate_model(model, metadata, reference, extractor(), spec)
    assert drawn.images.shape == (2, 3, 64, 64) and len(found.sampler["text_encoder"]) == 16
    assert "text encoder " in found.title
    other = found.model_copy(update={"sampler": found.sampler | {"text_encoder": "0" * 16}})
    assert other.conditions != found.conditions


def test_images_are_folders_and_shards_and_nothing_else(cli, tmp_path):
    tar = tmp_path / "a.tar"
    tar.touch()
    assert names_images(str(tar)) and names_images(str(tmp_path)) and not names_images("mdm-nano")
    arrays = tmp_path / "samples.npz"
    arrays.write_bytes(b"PK\3\4")
    message = f"error: {arrays}: not an entry, a checkpoint or a folder of images: it is a file of NumPy arrays; "
    assert cli("evaluate", arrays, "--reference", "noto-emoji-64")[2].startswith(message)


def test_command_on_folders(cli, monkeypatch, tmp_path):
    monkeypatch.setattr("registry.evaluation.measure.open_features", lambda *a, **k: extractor())
    for name, seed in (("a", 1), ("b", 2)):
        for index, image in enumerate(images(6, seed=seed).images):
            save_image(to_pil(image.float() / 127.5 - 1), tmp_path / name / f"{index}.png")
    code, text, err = cli("evaluate", tmp_path / "a", "--reference", tmp_path / "b", "-q")
    assert code == 0, err
    assert "6 samples against b (6) at 16 px" in text
    assert cli("evaluate", tmp_path / "a")[2].startswith(f"error: {tmp_path / 'a'}: name the images to compare")
    save_image(to_pil(torch.zeros(3, 8, 8)), tmp_path / "a" / "odd.png")
    assert (
        "odd.png: 8x8 pixels, but 0.png has 16x16" in cli("evaluate", tmp_path / "a", "--reference", tmp_path / "b")[2]
    )
    code, text, err = cli("evaluate", tmp_path / "a", "--resolution", 8, "--reference", tmp_path / "b", "-q")
    assert code == 0 and "at 8 px" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mdm-s64"], "mdm-s64 has no pretrained weights"),
        (["mdm-nan"], "no entry is called 'mdm-nan'; did you mean 'mdm-nano'"),
        (["mdm-nano", "--features", "vgg"], "no features 'vgg'"),
        (["mdm-nano", "--samples", "1"], "--samples 1: must be at least 2"),
        (["mdm-nano", "--sampler", "euler"], "--sampler euler: must be"),
        (["mdm-nano", "--eta", "2"], "--eta 2.0: must be at most 1"),
        (["mdm-nano", "--eta", "0.5", "--sampler", "dpm++"], "eta is the noise of ddim; dpm++ does not take it"),
        (["mdm-nano", "--guidance-interval", "0.8", "0.2"], "--guidance-interval goes from 0.8 down to 0.2"),
        (["mdm-nano", "--no-clip", "--dynamic-threshold", "0.9"], "--dynamic-threshold is a way to clip"),
        (["mdm-nano", "--reference", "nowhere"], "no dataset 'nowhere'"),
        (["mdm-nano", "--resolution", "32"], "mdm-nano draws at 64 pixels"),
    ],
)
def test_mistakes(cli, arguments, message):
    code, out, err = cli("evaluate", *arguments)
    assert (code, out) == (2, "") and message in err and "Traceback" not in err
