"""Training on data with other classes than the entry's: ``--classes auto``, in a recipe ``classes: N``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import zoo
from builders.checkpoints.shipped import file_facts
from builders.training.json_log import JsonLog
from registry.costs.card import make_card
from specs.errors import SpecError
from specs.load import load_entry
from specs.recipe import NoClasses, entry_overrides, load_recipe, load_recipe_and_graph, recipe_graph
from specs.recipe_identity import fingerprint
from tests.helpers.shards import samples, write_tar
from zoo.api.recipes import requested_recipe

pytestmark = pytest.mark.usefixtures("light_measures")

#: One step per level, on few rows.
SMALL = ["phases.p8.steps=1", "phases.p16.steps=1", "phases.p8.batch=2", "phases.p16.batch=2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A shard of two classes, cat and dog."""
    return str(write_tar(tmp_path_factory.mktemp("data") / "pets.tar", samples(24, size=(16, 16))))


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    return str(write_tar(tmp_path_factory.mktemp("data") / "plain.tar", samples(24, size=(16, 16), category="")))


@pytest.mark.slow
def test_the_command(cli, data):
    options = ("micro-test", "--set", f"data={data}", *(word for each in SMALL for word in ("--set", each)))
    command = ("train", *options, "--no-track", "-q", "-o", "run", "--device", "cpu")
    code, _, err = cli(*command)
    assert code == 2 and "mdm-micro has 10 classes, but the data" in err and "--classes auto" in err
    assert cli(*command, "--classes", "auto")[::2] == (0, "")
    # Resumed, sampled and evaluated by the folder of the run, and trained again from its recipe.
    recipe = json.loads((Path("run") / "recipe.json").read_text())
    assert recipe["classes"] == 2 and recipe["entry"] == "mdm-micro"
    assert cli(*command, "--classes", "2")[0] == 0
    assert cli("train", "run/recipe.json", "--no-track", "-q", "-o", "run", "--device", "cpu")[0] == 0
    code, _, err = cli("sample", "run", "-c", "dog", "-n", "1", "--steps", "1", "--no-nearest", "-q", "-o", "out")
    assert (code, err) == (0, "")
    model = zoo.load("run", "cpu")
    assert model.classes == ("cat", "dog") and model.network.graph.classes == 2
    assert [len(images) for images in model.sample(n=1, num_inference_steps=1).values()] == [2, 2]
    assert model.entry.hash == recipe_graph(load_recipe("run/recipe.json")).hash != zoo.get("mdm-micro").hash


def test_an_entry_and_unlabelled_data(unlabelled, tmp_path, monkeypatch):
    """Without labels, auto trains without classes."""
    monkeypatch.chdir(tmp_path)
    weights = zoo.train(
        "mdm-micro", unlabelled, steps=2, classes="auto", output="run", quiet=True, track=False, device="cpu"
    )
    assert "classes" not in file_facts(weights)["spec"]
    assert len(zoo.sample(weights, n=3, num_inference_steps=1, device="cpu")["r16"]) == 3


def test_a_recipe_in_yaml(tmp_path):
    path = tmp_path / "pets.yaml"
    path.write_text("name: pets\nextends: micro-test\nclasses: 2\n")
    recipe, graph = load_recipe_and_graph(path)
    assert recipe.classes == graph.classes == 2
    assert graph.graph_hash == load_entry("mdm-micro", overrides=["nest.inputs.classes=2"]).graph.graph_hash
    assert make_card(graph).parameters < zoo.get("mdm-micro").card().parameters
    path.write_text("name: pets\nextends: micro-test\nclasses: -1\n")
    with pytest.raises(SpecError, match="pets.yaml:3:10: error.out-of-range"):
        load_recipe(path)


def test_an_entry_in_yaml(tmp_path):
    """The YAML of docs/training.md."""
    path = tmp_path / "my-nano.yaml"
    path.write_text("name: my-nano\nextends: mdm-nano\nnest: {nest: {inputs: {classes: 3}}}\n")
    assert zoo.get(path).hash == zoo.get("mdm-nano", ["nest.nest.inputs.classes=3"]).hash


def test_entries_of_any_depth():
    for name in ("flat-n32", "mdm-micro", "mdm-nano"):
        recipe, _ = requested_recipe(name, data="noto-emoji-64")
        graph = load_entry(name).graph
        for count in (3, 0):
            changed = recipe.model_copy(update={"classes": count})
            assert (recipe_graph(changed).classes or 0) == count
        assert entry_overrides(recipe.model_copy(update={"classes": graph.classes}), graph) == []


def test_recipes_without_it_are_as_before():
    recipe = load_recipe("micro-test")
    assert recipe.classes is None and fingerprint(recipe) != fingerprint(recipe.model_copy(update={"classes": 3}))
    assert recipe_graph(recipe).hash == zoo.get("mdm-micro").hash


@pytest.mark.parametrize("wrong", ["all", "-1", "2.5", "1e3", "", "99999999", True, "²"])
def test_wrong_numbers(wrong):
    with pytest.raises(ValueError, match="write auto, or the number of classes"):
        requested_recipe("micro-test", classes=wrong)


def test_entries_without_classes(tmp_path):
    with pytest.raises(ValueError, match=r"mdm-nano.text has no classes to change: remove --classes"):
        requested_recipe("mdm-nano.text", data="noto-emoji-64", classes="auto")
    path = tmp_path / "text.yaml"
    path.write_text("name: text\nextends: nano-text\nclasses: 3\n")
    with pytest.raises(SpecError, match=r"text.yaml:3:10: error.conflict.: mdm-nano.text has no classes"):
        load_recipe(path)
    with pytest.raises(NoClasses):
        recipe_graph(load_recipe("nano-text").model_copy(update={"classes": 3}))


def test_data_that_does_not_exist():
    with pytest.raises(ValueError, match="no dataset 'nosuch'"):
        requested_recipe("mdm-micro", data="nosuch", classes="auto")


@pytest.mark.slow
def test_train_from_python(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []

    class Watch(JsonLog):
        def on_step(self, report):
            seen.append(report.step)

    options = {"output": "run", "quiet": True, "track": False, "device": "cpu", "observers": [Watch()]}
    changes = [f"data={data}", *SMALL]
    weights = zoo.train("micro-test", classes="auto", overrides=changes, **options)
    assert weights == Path("run/ema.safetensors") and seen == [1, 2]
    assert zoo.train(requested_recipe("micro-test", changes, classes=2)[0], **options) == weights and seen == [1, 2]
    with pytest.raises(ValueError, match=r'train it with the classes of the data \(classes="auto", or'):
        zoo.train("micro-test", overrides=changes, **options | {"output": "other"})
    recipe = load_recipe("micro-test")
    for more in ({"data": data}, {"steps": 3}, {"classes": 2}, {"overrides": ["seed=1"]}):
        with pytest.raises(ValueError, match="a Recipe has its own data, steps and classes"):
            zoo.train(recipe, **more)
    for wrong in (None, 3, ["micro-test"]):
        with pytest.raises(TypeError, match="a recipe is a name, a path or a Recipe"):
            zoo.train(wrong)
    with pytest.raises(ValueError, match="change it: overrides data=nosuch|with its own data"):
        zoo.train("micro-test", "nosuch")
