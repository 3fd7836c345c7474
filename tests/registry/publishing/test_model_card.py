"""Model cards: their sections, their front matter on the Hub, and their Python."""

from __future__ import annotations

import re

import pytest
import yaml

import zoo
from builders.checkpoints.shipped import shipped_weights
from registry.evaluation.results import Metric, save
from registry.publishing.model_card import TASKS, model_card
from tests.helpers.measured import measurement


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", zoo.list())
def test_every_card(name):
    text = model_card(zoo.get(name), "picture.svg")
    _, front, body = text.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert {"license", "library_name", "pipeline_tag", "tags"} <= set(facts)
    assert body.lstrip().startswith(f"# {name}\n") and "![" in body
    for title in ("Costs", "Results", "Training", "Licences", "How to use", "Limits"):
        assert f"\n## {title}\n" in body
    assert f"{zoo.get(name).card().parameters:,}" in body and not re.search(r"\bnan\b|\binf\b", body)


@pytest.mark.parametrize("name", [name for name in zoo.list() if shipped_weights(name)])
def test_the_python_of_a_card_draws(name, tmp_path):
    text = model_card(zoo.get(name))
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(code.replace("num_inference_steps=20", "num_inference_steps=1"), {})
    extension = "mp4" if zoo.get(name).frames > 1 else "png"
    assert sorted(path.name for path in tmp_path.glob("sample-*")) == [f"sample-{n}.{extension}" for n in (0, 1)]


@pytest.mark.parametrize("name", ["mdm-micro", "mdm-s256.in1k", "mdm-nano", "mdm-nano.text"])
def test_a_card_names_the_recipes_of_its_entry(name):
    from specs.recipe import list_recipes, load_recipe

    text = model_card(zoo.get(name)).partition("## Training")[2].partition("## Licences")[0]
    named = set(re.findall(r"zoo train (\S+?)`", text))
    assert named and named <= {recipe for recipe in list_recipes() if load_recipe(recipe).entry == name}


def test_a_card_of_an_entry_that_was_changed_claims_no_weights():
    assert "Weights (" in model_card(zoo.get("mdm-nano"))
    changed = model_card(zoo.get("mdm-nano", ["stages.r64.width=64"]))
    assert "The package includes no weights" in changed and "zoo sample" not in changed


@pytest.mark.parametrize("name", zoo.list())
def test_the_hub_takes_the_front_matter(name):
    hub = pytest.importorskip("huggingface_hub")
    if name == "mdm-nano":
        save(measurement(name, 3.0))
    data = hub.ModelCard(model_card(zoo.get(name))).data
    assert data.license == "apache-2.0" and "none" not in data.tags
    kind, text = ("video" if "video" in data.tags else "image"), "text" in data.tags[-1]
    assert data.pipeline_tag == TASKS[kind][not text]
    if name == "mdm-nano":
        assert ("fd_made_up", "noto-emoji-64 train") in {(r.metric_type, r.dataset_name) for r in data.eval_results}


def test_card_with_results():
    save(measurement("mdm-nano", 3.0, metrics={"fd_made_up": Metric(value=3.0, low=2.5, high=3.5)}))
    text = model_card(zoo.get("mdm-nano"))
    assert "| fd_made_up | 3 | 2.5 to 3.5 |" in text and "100 samples against noto-emoji-64 train" in text
    facts = yaml.safe_load(text.split("---\n")[1])
    assert facts["model-index"][0]["results"][0]["metrics"][0]["value"] == 3.0
    assert "Apache-2.0" in text and "nano-long" in text
    assert "Reported by others" in model_card(zoo.get("mdm-s256.in1k"))


def test_card_command(cli):
    assert cli("card", "mdm-micro", "-o", "cards/micro.md")[0] == 0
    code, out, _ = cli("card", "mdm-micro")
    assert code == 0 and out.startswith("---\nlicense: apache-2.0\n")
    assert cli("card", "mdm-micro", "-o", "micro.svg")[::2] == (2, "error: micro.svg: a card is an .md file\n")


def test_limits_state_how_many_images_were_seen():
    assert "- They have seen 1,722 images, and may repeat them" in model_card(zoo.get("mdm-nano"))
    assert "- They have seen 15,498 clips, and may repeat them" in model_card(zoo.get("mdm-nano-v"))
    assert "have seen" not in model_card(zoo.get("mdm-s64.in1k"))
