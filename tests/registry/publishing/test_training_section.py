"""What cards say of a training: phases, FLOPs, seconds, hardware and losses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import zoo
from builders.checkpoints.shipped import shipped_weights
from registry.costs.card import make_card
from registry.publishing.subject import entry_subject, weights_subject
from registry.publishing.training import training_section
from tests.helpers.runs import run_folder

TIMES = {"hardware": ["x86_64, 2 cores"], "processes": 1, "steps": {"p8": 8, "p16": 7}, "seconds": {"p8": 61, "p16": 5}}
PHASES = {"p8": {"train": "r8", "steps": 8, "batch": 4}, "p16": {"train": "r16", "hours": 2, "batch": 2}}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows(text: str) -> dict[str, list[str]]:
    """Cells of the table by the first one."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {first: others for first, *others in cells}


def a_run(times: dict | None = None, **facts) -> str:
    recipe = {"name": "micro-test", "entry": "mdm-micro", "data": "noto-emoji-64", "phases": PHASES, "ema": 0.9}
    run_folder(Path("run"), **{"recipe": recipe | {"precision": "float32"}, "phase": "p16", "step": "7"} | facts)
    Path("run/state.safetensors").touch()
    Path("run/recipe.json").write_text(json.dumps(recipe))
    if times is not None:
        Path("run/times.json").write_text(json.dumps(times))
    return training_section(weights_subject("run"))


def test_flops_and_seconds_of_a_run():
    text = a_run(TIMES)
    card = make_card(zoo.get("mdm-micro").architecture.inner("r8"))
    found = rows(text)
    assert found["phase"] == ["level", "steps", "batch", "FLOPs", "seconds"]
    assert found["p8"][:3] == ["r8", "8", "4"] and found["p8"][4] == "61" and found["**whole**"][1] == "15"
    assert found["p16"][1] == "7" and found["**whole**"][4] == "66"
    number, unit = found["p8"][3].split()
    # Three times the forward pass, less the gradients of inputs that need none.
    assert unit == "M" and 0.85 < float(number) * 1e6 / (8 * 4 * card.training_flops) <= 1.01
    assert "Hardware: x86_64, 2 cores; one process." in text
    assert 'precision `"float32"`' in text
    assert 'precision `"bfloat16"`' in a_run(TIMES, precision="bfloat16")


def test_settings_of_phases():
    phases = {
        "p8": PHASES["p8"],
        "p16": PHASES["p16"] | {"freeze": ["r8"], "learning_rate": 1e-3, "initialise": "/x/y"},
    }
    recipe = {"name": "micro-test", "entry": "mdm-micro", "data": "noto-emoji-64", "phases": phases, "flip": False}
    text = a_run(recipe=recipe | {"entry_overrides": ["process.shift=2"], "seed": 0, "precision": "float32"})
    assert 'Settings: entry_overrides `["process.shift=2"]`, precision `"float32"`, seed `0`.' in text
    assert (
        'Phase p16: learning_rate `0.001`, freeze `["r8"]`.' in text and "Phase p8" not in text and "/x/y" not in text
    )


def test_weights_of_an_earlier_step():
    found = rows(a_run(TIMES, phase="p8", step="5"))
    assert found["p8"][1] == "5" and found["p16"][1] == "0" and found["p16"][3].startswith("0")


def test_an_average_of_another_length():
    assert ", power function average of length 0.08, chosen after training." in a_run(average="0.08")


def test_unknown_times():
    text = a_run()
    assert ", EMA 0.9." in text
    assert rows(text)["p8"][4] == "not recorded" and "Hardware" not in text


@pytest.mark.parametrize(
    "change",
    [
        {"phases": {"p8": {"train": "r99", "steps": 3, "batch": 4}}},
        {"phases": {"p8": {"train": "r8", "steps": "many", "batch": []}}},
        {"phases": 3},
        {"phases": {}, "ema": "high"},
    ],
)
def test_recipes_of_any_shape(change):
    recipe = {"name": "micro-test", "entry": "mdm-micro", "data": "noto-emoji-64", "phases": PHASES}
    text = a_run(recipe=recipe | change, phase="p8", step="9" * 30)
    assert text.startswith("## Training\n")


@pytest.mark.parametrize("name", [name for name in zoo.list() if shipped_weights(name)])
def test_weights_in_the_package(name):
    text = training_section(entry_subject(zoo.get(name)))
    found = rows(text)
    assert len(found) >= 3 and "unknown" not in text and "Settings: schedule `{" in text
    assert found.get("**whole**", found[list(found)[-1]])[3].split()[1] in ("T", "P")


def test_validation_losses():
    subject = entry_subject(zoo.get("mdm-nano"))
    losses = "Validation v loss: r64 0.0735, r32 0.0665, r16 0.0561"
    assert f"{losses}, with the predictions beyond [-1, 1] that `clip_x0` ignores.\n" in training_section(subject)
    before = replace(subject, metadata={**subject.metadata, "phase": "p64-joint"})
    assert f"{losses}.\n" in training_section(before)
    other = training_section(entry_subject(zoo.get("flat-n64")))
    assert "Validation v loss: r64 0.0885.\n" in other and "clip_x0` ignores" not in other
    for value, expected in (("0.25", "Validation v loss: 0.2500, with"), ("[", None), ('{"a": "b"}', None)):
        text = training_section(
            replace(subject, metadata={**subject.metadata, "val_v_loss": value, "held_out_v_loss": ""})
        )
        assert expected in text if expected else "Validation v loss" not in text
