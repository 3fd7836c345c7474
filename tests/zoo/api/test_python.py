"""``zoo.load``, ``zoo.sample``, ``zoo.evaluate``: the same as the commands, from Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from builders.checkpoints.weights import save_weights
from builders.sampling.defaults import UntrainedGuidanceWarning
from tests.helpers.images import read_image
from tests.helpers.networks import noise, randomise
from zoo.commands.sample import sample as sample_command

FEW = {"num_inference_steps": 2, "device": "cpu"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of mdm-micro that say they were trained on the emoji."""
    model = randomise(zoo.build("mdm-micro"))
    path = tmp_path_factory.mktemp("run") / "weights.safetensors"
    save_weights(path, model.graph, model.state_dict(), {"data": "noto-emoji-64"})
    return path


@pytest.fixture(scope="module")
def model(weights):
    return zoo.load(weights, "cpu")


def same(one: Image.Image, two: Image.Image) -> bool:
    return np.array_equal(np.asarray(one), np.asarray(two))


def test_load(weights, model):
    assert model.name == "mdm-micro" and model.labels == ("r16", "r8") and model.path == weights
    assert model.entry == zoo.get("mdm-micro") and model.process.steps == 1000
    assert model.text_encoder is None and len(model.classes) == 10 and "Flags" in model.classes
    assert repr(model).startswith("<Model mdm-micro: levels r16, r8, cpu") and "<table>" in model._repr_html_()
    z = noise(model.network.graph, 2)
    with torch.no_grad():
        direct = model(z, [5, 6], model.encode(classes=[1, 2]))
        assert all(map(torch.equal, direct, model.network(z, [5, 6], classes=[1, 2])))


def test_what_is_loaded(weights, model):
    for what in (str(weights), weights.parent, str(weights.parent)):
        assert zoo.load(what, torch.device("cpu")).metadata == model.metadata
    named = zoo.load("mdm-nano", device="cpu")
    assert named.entry == zoo.get("mdm-nano") == zoo.load(zoo.get("mdm-nano"), "cpu").entry


@pytest.mark.parametrize(
    ("what", "kind", "message"),
    [
        ("mdm-nanu", LookupError, "did you mean 'mdm-nano'"),
        ("mdm-s64", ValueError, "mdm-s64 has no pretrained weights"),
        (zoo.get("mdm-s64"), ValueError, "no pretrained weights fit mdm-s64"),
        ("nosuch.safetensors", ValueError, "no such checkpoint"),
        ("x" * 300, LookupError, "no entry is called"),
        ("a\0.safetensors", ValueError, "no such checkpoint"),
        (None, TypeError, "not by NoneType"),
        (3, TypeError, "not by int"),
    ],
    ids=repr,
)
def test_what_cannot_be_loaded(what, kind, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for function in (zoo.load, zoo.sample):
        with pytest.raises(kind, match=message):
            function(what)
    with pytest.raises(ValueError, match="no such device|teapot"):
        zoo.load("mdm-nano", "teapot")


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm++"])
def test_the_pixels_of_the_command(weights, model, sampler, tmp_path):
    options = {"classes": ["flags", "food"], "seed": 5, "sampler": sampler}
    found = zoo.sample(model, n=2, num_inference_steps=2, **options)
    sample_command(str(weights), output=tmp_path / "out", count=2, steps=2, device="cpu", nearest=False, **options)
    assert list(found) == ["r16", "r8"] and [len(images) for images in found.values()] == [4, 4]
    for label, side in (("r16", 16), ("r8", 8)):
        files = sorted((tmp_path / "out" / label).glob("*.png"))
        assert all(image.size == (side, side) and image.mode == "RGB" for image in found[label])
        assert all(same(image, read_image(file)) for image, file in zip(found[label], files, strict=True))


def test_names_paths_and_models_give_the_same_images(weights, model):
    wanted = model.sample(classes="flags", n=1, num_inference_steps=2)["r16"][0]
    index = model.classes.index("Flags")
    for what in (weights, str(weights.parent), model, model.network):
        classes = [index] if what is model.network else ["Flags"]
        assert same(zoo.sample(what, classes, n=1, **FEW)["r16"][0], wanted)
    assert not same(zoo.sample(model, ["flags"], n=1, seed=1, **FEW)["r16"][0], wanted)
    assert same(zoo.sample(model, ["flags"], n=np.int64(2), **FEW)["r16"][0], wanted)


def test_all_classes_by_default(model):
    assert len(model.sample(n=1, num_inference_steps=1)["r8"]) == 10


def test_defaults_fit_the_model(tmp_path):
    """Fewer steps for a short process; no guidance where it was not trained."""
    model = randomise(zoo.build("mdm-micro", overrides=["process.steps=3"]))
    path = tmp_path / "short.safetensors"
    save_weights(path, model.graph, model.state_dict(), {"recipe": {"drop": {"classes": 0}, "data": "noto-emoji-64"}})
    found = zoo.sample(path, ["flags"], n=1, device="cpu")["r16"][0]
    plain = {"num_inference_steps": 3, "guidance_scale": 1, "device": "cpu"}
    assert same(found, zoo.sample(path, ["flags"], n=1, **plain)["r16"][0])
    with pytest.warns(UntrainedGuidanceWarning, match="never trained without its classes"):
        zoo.sample(path, ["flags"], n=1, guidance_scale=3, device="cpu")
    with pytest.raises(ValueError, match="num_inference_steps must be from 1 to 3"):
        zoo.sample(path, num_inference_steps=4, device="cpu")


def test_names_of_classes_from_data(model):
    network = model.network
    found = zoo.sample(network, ["flags"], n=1, data="noto-emoji-64", num_inference_steps=1)
    assert same(found["r8"][0], model.sample("flags", n=1, num_inference_steps=1)["r8"][0])
    with pytest.raises(ValueError, match="no dataset 'nosuch'"):
        zoo.sample(network, ["flags"], data="nosuch")
    with pytest.raises(ValueError, match="names of the classes are unknown; use a number from 0 to 9"):
        zoo.sample(network, ["flags"])


def test_prompts():
    pytest.importorskip("wordllama")
    model = zoo.load("mdm-nano.text", "cpu")
    options = {"num_inference_steps": 1, "guidance_scale": 1.0}
    found = zoo.sample(model, prompts=["a red apple", "a blue whale"], n=1, **options)
    assert list(found) == ["r64", "r32", "r16"] and len(found["r64"]) == 2
    assert same(found["r64"][0], model.sample(prompts="a red apple", n=1, **options)["r64"][0])
    assert not same(found["r64"][0], found["r64"][1])


WRONG = [
    ({"n": 0}, ValueError, "n must be at least 1, not 0"),
    ({"n": -3}, ValueError, "n must be at least 1"),
    ({"n": "2"}, TypeError, "n is a whole number, not str"),
    ({"n": 2.5}, TypeError, "n is a whole number, not float"),
    ({"n": True}, TypeError, "n is a whole number"),
    ({"seed": None}, TypeError, "seed is a whole number"),
    ({"classes": ["flgs"]}, ValueError, "no class 'flgs'; did you mean 'Flags'"),
    ({"classes": []}, ValueError, "classes is empty"),
    ({"classes": [None]}, TypeError, "classes is a list of text or whole number; None is NoneType"),
    ({"classes": 2.5}, TypeError, "classes is a list"),
    ({"prompts": ["a red apple"]}, ValueError, "mdm-nano does not read text: remove prompts"),
    ({"prompts": ["x"], "classes": ["flags"]}, ValueError, "does not read text"),
    ({"prompts": [3]}, TypeError, "prompts is a list of text; 3 is int"),
    ({"text_encoder": "embedded"}, ValueError, "does not read text: remove text_encoder"),
    ({"sampler": "dpm"}, ValueError, "sampler"),
    ({"num_inference_steps": 0}, ValueError, "num_inference_steps"),
    ({"steps": 3}, ValueError, "no field 'steps'"),
    ({"guidance_scale": float("nan")}, ValueError, "guidance_scale"),
    ({"eta": 2}, ValueError, "eta"),
    ({"eta": 0.5, "sampler": "ddpm"}, ValueError, "eta"),
]


@pytest.mark.parametrize(("options", "kind", "message"), WRONG, ids=[str(options) for options, *_ in WRONG])
def test_wrong_arguments(options, kind, message, monkeypatch):
    # They are refused before weights are read.
    monkeypatch.setattr("registry.weights.load_weights", None)
    with pytest.raises(kind, match=message):
        zoo.sample("mdm-nano", **options)


def test_a_model_that_reads_text_needs_prompts(monkeypatch):
    monkeypatch.setattr("registry.weights.load_weights", None)
    with pytest.raises(ValueError, match="mdm-nano.text reads text: add prompts"):
        zoo.sample("mdm-nano.text")
    with pytest.raises(ValueError, match="mdm-nano.text has no classes: remove classes"):
        zoo.sample("mdm-nano.text", classes=["flags"])


def test_torch_is_imported_by_what_computes_only():
    code = """
import sys, zoo
assert zoo.sample and zoo.load and zoo.train and zoo.evaluate and zoo.Model
for call in (
    lambda: zoo.sample("mdm-nano", classes=["flgs"]),
    lambda: zoo.sample("mdm-nano", prompts=["x"]),
    lambda: zoo.sample("mdm-nano", n=0),
    lambda: zoo.load("mdm-nanu"),
    lambda: zoo.train("micro-tset"),
    lambda: zoo.train("micro-test", data="noto-emoji-64"),
    lambda: zoo.evaluate("mdm-nano", samples=1),
    lambda: zoo.evaluate("mdm-nano", reference="nosuch"),
):
    try:
        call()
    except (ValueError, LookupError):
        pass
    else:
        raise AssertionError
assert not {"torch", "mlflow", "networkx"} & set(sys.modules), "too early"
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(zoo.__file__).parent.parent)


def test_evaluate(model, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = {}

    def measure(what, spec, **options):
        asked.update(options, what=what, spec=spec)
        return "measured", tmp_path

    monkeypatch.setattr("registry.evaluation.measure.measure", measure)
    assert zoo.evaluate(model, samples=16, num_inference_steps=2, seed=3, device="cpu") == "measured"
    assert asked["what"] == str(weights) and (asked["spec"].samples, asked["spec"].seed) == (16, 3)
    assert zoo.evaluate("mdm-nano", device="cpu") == "measured" and asked["spec"].samples == 1000
    assert asked["folder"] == Path("results/measured") and asked["reference"] is None
    zoo.evaluate(weights.parent, reference="noto-emoji-64", output=tmp_path / "here", device="cpu")
    assert asked["reference"] == "noto-emoji-64" and asked["folder"] == tmp_path / "here"


@pytest.mark.parametrize(
    ("what", "options", "kind", "message"),
    [
        ("mdm-nanu", {}, LookupError, "did you mean"),
        ("mdm-nano", {"samples": 1}, ValueError, "samples"),
        ("mdm-nano", {"smaples": 100}, ValueError, "no field 'smaples'; did you mean 'samples'"),
        ("mdm-nano", {"features": "inceptoin"}, ValueError, "inception"),
        ("mdm-nano", {"reference": "nosuch"}, ValueError, "no dataset 'nosuch'"),
        ("mdm-s64", {}, ValueError, "no pretrained weights"),
        (None, {}, TypeError, "NoneType"),
    ],
)
def test_wrong_measurements(what, options, kind, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=message):
        zoo.evaluate(what, **options)


@pytest.mark.parametrize(
    ("factor", "why"), [(float("nan"), "holds NaN or infinity"), (1e30, "its predictions overflow")]
)
def test_samples_that_are_not_finite_are_refused(factor, why):
    network = zoo.build("mdm-micro")
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(1).mul_(factor)
    with pytest.raises(ValueError, match=f"mdm-micro: the samples of level .* hold NaN or infinity: .*{why}"):
        zoo.sample(network, classes=[0], n=1, num_inference_steps=2)


def test_train_calls_its_steps_steps():
    with pytest.raises(ValueError, match=r"^steps needs data; to change the steps of a recipe: overrides phases"):
        zoo.train("mdm-micro", steps=3)


def test_weights_of_an_inner_level_with_the_shift_of_the_whole_entry(tmp_path):
    """As a phase of an inner level writes them."""
    inner = zoo.get("mdm-micro", ["process.shift=2"]).architecture.inner("r8")
    network = randomise(zoo.build(inner))
    save_weights(tmp_path / "inner.safetensors", inner, network.state_dict())
    model = zoo.load(tmp_path / "inner.safetensors")
    assert model.network.graph.process.shift == 2
    assert set(zoo.sample(network, n=1, num_inference_steps=1, guidance_scale=1)) == {"r8"}
