"""The identity of recipes: what decides the weights, what is written to a run, and places that may move."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from specs.errors import SpecError
from specs.recipe import load_recipe
from specs.recipe_identity import facts, fingerprint, fingerprint_of_earlier_versions, saved_recipe, written
from specs.schemas.memory import MemorySpec
from specs.schemas.recipe import CarrySpec, Recipe
from tests.helpers.recipes import BASE, write


def test_a_fingerprint_is_of_meaning_and_order(tmp_path: Path) -> None:
    """What is written and equal to the default counts where it replaces the recipe's; phases count in their order."""
    swapped = BASE.format(name="a").replace("batch: {r16: 2, r8: 4}", "batch: 4").replace("r16,", "r8,")
    first, second = swapped.splitlines()[-2:]
    order = (
        write(tmp_path, "a", swapped),
        write(tmp_path, "b", swapped.replace(f"{first}\n{second}", f"{second}\n{first}")),
    )
    assert fingerprint(load_recipe(order[0])) != fingerprint(load_recipe(order[1]))
    plain = load_recipe(write(tmp_path, "c"))
    for change in (
        "schedule: {decay: constant}",
        "schedule: {warmup: 0}",
        "loss: {space: eps}",
        "loss: {levels: {r8: 0}}",
    ):
        text = BASE.format(name="d").replace("p16: {", f"p16: {{{change}, ")
        changed = load_recipe(write(tmp_path, "d", text))
        assert fingerprint(changed) != fingerprint(plain), change
        # Written and read, it is what it was.
        again = Recipe.model_validate_json(json.dumps(written(changed)))
        assert fingerprint(again) == fingerprint(changed) and written(again) == written(changed)
        phase = changed.phases["p16"]
        assert again.schedule_of(again.phases["p16"]) == changed.schedule_of(phase)
        assert again.loss_of(again.phases["p16"]) == changed.loss_of(phase)
    assert fingerprint(
        load_recipe(write(tmp_path, "e", BASE.format(name="e") + "carry: {ema: true}\n"))
    ) == fingerprint(plain)


def test_a_written_recipe_is_one_to_load_and_to_change(tmp_path: Path) -> None:
    """Nothing is said of what the entry lacks, of levels that a phase does not train, or over the recipe's parts."""
    text = BASE.format(name="a") + "drop: {text: 0}\n"
    text = text.replace("loss: {space: v}", "loss: {space: v, levels: {r16: 0.5}}").replace(
        "p16: {", "p16: {carry: {ema: false}, "
    )
    recipe = load_recipe(write(tmp_path, "a", text))
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(written(recipe, ("classes",))))
    again = load_recipe(path)
    assert fingerprint(again, ("classes",)) == fingerprint(recipe, ("classes",))
    assert again.phases["p8"].loss is None and again.loss_of(again.phases["p8"]).levels == {"r16": 0.5}
    changed = load_recipe(path, ["schedule.warmup=6", "carry={ema: true, optimizer: true}"])
    assert changed.schedule_of(changed.phases["p16"]).warmup == 6
    # What the phase itself says stays.
    assert changed.carry_of(changed.phases["p16"]) == CarrySpec(optimizer=True, ema=False)


def test_places_of_what_a_recipe_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "sub" / "states").mkdir(parents=True)

    def data_of(text: str) -> object:
        path = write(tmp_path / "sub", "a", BASE.format(name="a").replace("noto-emoji-64", text))
        return load_recipe(path).data

    for address in ("file:///data/set-000.tar", "https://example.org/set-{000..003}.tar", "memory://a/b.tar"):
        assert data_of(address) == address
    assert data_of("~/x.tar") == str(tmp_path / "home" / "x.tar")
    assert data_of("data/x.tar") == str(tmp_path / "sub" / "data" / "x.tar")
    assert data_of("{s3://b/x.tar: 1, data/y.tar: 2}") == {
        "s3://b/x.tar": 1,
        str(tmp_path / "sub" / "data" / "y.tar"): 2,
    }
    for text, wanted in (
        ("states", "states"),
        ("google/flan-t5-xl", "google/flan-t5-xl"),
        ("../sub/states", f"{tmp_path}/sub/../sub/states"),
        ("~/t5", f"{tmp_path}/home/t5"),
    ):
        path = write(tmp_path / "sub", "b", BASE.format(name="b") + f"text_encoder: {text}\n")
        assert load_recipe(path).text_encoder == wanted
    path = write(tmp_path, "c", BASE.format(name="c") + "text_encoder: sub/states\n")
    assert load_recipe(path).text_encoder == f"{tmp_path}/sub/states"


def test_a_folder_may_be_moved(tmp_path: Path) -> None:
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, "a", BASE.format(name="a").replace("noto-emoji-64", "data/x.tar"))
    here, there = (load_recipe(tmp_path / folder / "a.yaml") for folder in ("here", "there"))
    assert here.data != there.data and fingerprint(here) == fingerprint(there)
    path = tmp_path / "here" / "a.yaml"
    assert fingerprint(load_recipe(path, ["data=data/y.tar"])) != fingerprint(here)
    # Runs' weights are all called ema.safetensors.
    one, other = (load_recipe(path, [f"initialise=runs/{run}/ema.safetensors"]) for run in "ab")
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(load_recipe(path, ["initialise=elsewhere/runs/a/ema.safetensors"])) == fingerprint(one)
    one, other = (load_recipe(path, [f"phases.p8.initialise=runs/{run}/ema.safetensors"]) for run in "ab")
    assert fingerprint(one) != fingerprint(other)


def test_memory_settings_are_no_part_of_the_identity() -> None:
    plain = load_recipe("micro-test")
    changes = ["memory={checkpoint: [r16], rows_per_pass: 2}", "phases.p8.memory={checkpoint: auto}"]
    changed = load_recipe("micro-test", changes)
    assert fingerprint(changed) == fingerprint(plain) and facts(changed) == facts(plain)
    assert fingerprint_of_earlier_versions(changed) == fingerprint_of_earlier_versions(plain)
    memory = changed.memory_of(changed.phases["p8"])
    assert (memory.checkpoint, memory.rows_per_pass) == ("auto", 2)
    assert "memory" not in written(plain) and "memory" not in written(plain)["phases"]["p8"]
    again = Recipe.model_validate_json(json.dumps(written(changed)))
    assert written(again) == written(changed) and again.memory == changed.memory
    assert [memory.passes(7), memory.passes(7, 2), memory.passes(1, 2), plain.memory.passes(7)] == [4, 2, 1, 1]
    assert MemorySpec(rows_per_pass=1).passes(7, 2) == 3  # the second process has three rows


@pytest.mark.parametrize("key", ["compile", "channels_last"])
def test_how_blocks_compute_is_no_part_of_the_identity(key: str) -> None:
    plain, changed = load_recipe("micro-test"), load_recipe("micro-test", [f"{key}=true"])
    assert not getattr(plain, key) and getattr(changed, key)
    assert fingerprint(changed) == fingerprint(plain) and facts(changed) == facts(plain)
    assert key not in written(plain) and written(changed)[key] is True


def test_how_losses_are_measured_is_no_part_of_the_identity() -> None:
    plain = load_recipe("micro-test")
    changed = load_recipe("micro-test", ["validation={samples: 9, draws: 3, log_snr_draws: 0}"])
    assert fingerprint(changed) == fingerprint(plain) and facts(changed) == facts(plain)
    assert "validation" not in written(plain)
    assert written(changed)["validation"] == {"samples": 9, "draws": 3, "log_snr_draws": 0}
    assert plain.validation.protocol == "keyed, 2 draws, 5000 samples" != changed.validation.protocol


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("memory.checkpoint=[r17]", "mdm-micro has no level 'r17'"),
        ("memory.checkpoint=r16", "'checkpoint' is a list of labels of levels, such as .r64., or auto"),
        ("phases.p8.memory.checkpoint=[r9]", "mdm-micro has no level 'r9'"),
        ("phases.p8.memory.rows_per_pass=0", "rows_per_pass"),
    ],
)
def test_memory_settings_that_cannot_be(change: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_recipe("micro-test", [change])


def test_rate_of_a_restart_is_written_if_it_is_set():
    plain, lower = load_recipe("micro-test"), load_recipe("micro-test", ["schedule.restart=0.1"])
    assert written(plain)["schedule"] == {"warmup": 2, "decay": "cosine"}
    assert written(lower)["schedule"]["restart"] == 0.1
    again = saved_recipe(json.dumps(written(lower)))
    assert again == lower and fingerprint(again) == fingerprint(lower) != fingerprint(plain)
