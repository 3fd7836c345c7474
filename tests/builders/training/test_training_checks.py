"""Checks before the first step: conditions, weights, and whether data and encoder have changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from builders.checkpoints.tensor_file import CheckpointError, read_tensors, write_tensors
from builders.data.open import open_dataset
from builders.diffusion.process import DiffusionProcess
from builders.networks.nested_unet import build_model
from builders.text import open as text_encoders
from builders.text.encode_dataset import encode_dataset
from builders.training.checks import captions, data_changes, data_facts
from builders.training.errors import TrainingError
from builders.training.loop import Interrupted, NoValidationDataWarning
from builders.training.observers import Observer, RunInfo
from builders.training.start import train
from builders.training.validation import draw_grid, validation_losses
from specs.load import load_entry
from specs.recipe import Recipe, load_recipe
from specs.recipe_identity import fingerprint_of_earlier_versions
from tests.helpers.shards import write_shard

pytestmark = pytest.mark.usefixtures("light_measures")

SMALL = [
    "phases.p8.steps=2", "phases.p8.batch=2", "phases.p16.steps=2", "phases.p16.batch=2",
    "every={checkpoint: 1, evaluate: 0, samples: 0}",
]  # fmt: skip
TEXT = ["entry=mdm-micro.text", "drop={classes: 0, text: 0.1}"]


class Started(Observer):
    """Whether training began."""

    def __init__(self) -> None:
        self.started = False

    def on_start(self, run: RunInfo) -> None:
        self.started = True


def recipe_of(data: Path | str, *changes: str) -> Recipe:
    return load_recipe("micro-test", [*SMALL, f"data={data}", *changes])


def begin(recipe: Recipe, folder: Path, steps: int = 1) -> None:
    """Train, and stop after some steps."""
    count = iter(range(1, 1000))
    with pytest.raises(Interrupted):
        train(recipe, folder, stop=lambda: next(count) >= steps)


@pytest.mark.parametrize(
    ("labels", "changes", "message"),
    [
        ([""] * 40, TEXT, "mdm-micro.text reads text, but none of the .* training images of .* has a caption: add"),
        ([""] * 40, [], "mdm-micro has 10 classes, but the data .* has none; label its samples"),
        (
            list("abc") * 14,
            [],
            r"mdm-micro has 10 classes, but the data .* has 3; train it .* \(--classes auto",
        ),
    ],
)
def test_data_without_what_the_entry_reads(labels: list[str], changes: list[str], message: str, tmp_path: Path) -> None:
    data, seen = write_shard(tmp_path / "data", labels), Started()
    with pytest.raises(TrainingError, match=message):
        train(recipe_of(data, *changes), tmp_path / "run", observer=seen)
    assert not seen.started


def test_data_without_a_validation_split(tmp_path: Path) -> None:
    data = write_shard(tmp_path / "data", [""] * 2, caption="a dot")
    with pytest.warns(
        NoValidationDataWarning, match="no images in its val split: no validation loss is measured"
    ) as seen:
        weights = train(recipe_of(data, *TEXT), tmp_path / "run")
    assert weights.is_file() and not list((tmp_path / "run" / "checkpoints").glob("best-*"))
    assert len([each for each in seen if each.category is NoValidationDataWarning]) == 1


def test_labels_that_are_not_on_the_card(tmp_path: Path) -> None:
    data = write_shard(tmp_path / "data", ["other"] * 40)
    names = ", ".join("abcdefghij")
    (data / "dataset.yaml").write_text(f"name: odd\nclasses: [{names}]\nsplits: {{all: {{shards: [a.tar]}}}}\n")
    with pytest.raises(TrainingError, match="none of the .* training images of .* has one of its 10 classes"):
        train(recipe_of(data), tmp_path / "run")


def test_weights_of_a_later_phase_are_checked_first(tmp_path: Path) -> None:
    for source, message in (
        ("no/such.safetensors", "no such weights file"),
        ("mdm-nano", r"has no level in common with mdm-micro \(r16, r8\)"),
    ):
        seen = Started()
        with pytest.raises(TrainingError, match=message):
            train(recipe_of("noto-emoji-64", f"phases.p16.initialise={source}"), tmp_path, observer=seen)
        assert not seen.started


@pytest.mark.parametrize("steps", [1, pytest.param(2, marks=pytest.mark.slow)], ids=["within a phase", "between two"])
def test_data_that_changed_is_refused(steps: int, tmp_path: Path) -> None:
    labels = list("abcdefghij") * 4
    data = write_shard(tmp_path / "data", labels)
    recipe = recipe_of(data)
    begin(recipe, tmp_path / "run", steps)
    before = (tmp_path / "run" / "state.safetensors").read_bytes()
    write_shard(tmp_path / "data", labels[:20], name="b.tar")
    with pytest.raises(CheckpointError, match=r"changed since it was stopped: .*its shards have other names or sizes"):
        train(recipe, tmp_path / "run")
    assert (tmp_path / "run" / "state.safetensors").read_bytes() == before
    (data / "b.tar").unlink()
    train(recipe, tmp_path / "run")


def test_data_that_changed_during_training_is_noticed(tmp_path: Path) -> None:
    labels = list("abcdefghij") * 4
    data = write_shard(tmp_path / "data", labels)

    class Adds(Observer):
        def on_start(self, run: RunInfo) -> None:
            write_shard(data, labels[:20], name="b.tar")

    with pytest.raises(Interrupted):
        train(recipe_of(data), tmp_path / "run", observer=Adds(), stop=lambda: True)
    with pytest.raises(CheckpointError, match="its shards have other names or sizes"):
        train(recipe_of(data), tmp_path / "run")


def test_facts_show_what_changed(tmp_path: Path) -> None:
    labels = list("abcdefghij") * 4
    one = open_dataset(write_shard(tmp_path / "one", labels)).load(8)
    turned = open_dataset(write_shard(tmp_path / "two", labels[::-1])).load(8)
    fewer = open_dataset(write_shard(tmp_path / "three", labels[:36])).load(8)
    assert not data_changes(data_facts(one), data_facts(one))
    assert data_changes(data_facts(one), data_facts(turned)) == ["the labels of its samples, or their order, changed"]
    assert not data_changes(data_facts(one), data_facts(turned), samples=False)
    changes = data_changes(data_facts(one), data_facts(fewer))
    assert f"it has {len(fewer)} training images, not {len(one)}" in changes
    # Facts that an older state lacks are not compared.
    assert not data_changes({}, data_facts(one))


def test_facts_of_shards_whose_names_are_not_unicode(tmp_path: Path) -> None:
    """In a path, a byte that is not UTF-8 is a lone surrogate."""
    labels = list("abcdefghij") * 4
    one = open_dataset(write_shard(tmp_path / "one", labels, name="b\udcff.tar")).load(8)
    other = open_dataset(write_shard(tmp_path / "two", labels, name="b\udcfe.tar")).load(8)
    assert not data_changes(data_facts(one), data_facts(one))
    assert data_changes(data_facts(one), data_facts(other)) == ["its shards have other names or sizes"]


def test_captions_are_known_without_decoding(tmp_path: Path) -> None:
    data = write_shard(tmp_path / "data", list("abcdefghij") * 4, caption="a dot")
    memory, lazy = open_dataset(data).load(8), open_dataset(data).load(8, memory=False)
    mixed = open_dataset({str(data): 1.0}).load(8)
    assert list(captions(memory)) == list(captions(lazy)) == list(captions(mixed)) == list(memory.captions)
    assert all(caption.startswith("a dot") for caption in memory.captions)


class Encoder:
    """A dummy text encoder with a fingerprint."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint

    def __call__(self, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        entry = load_entry("mdm-micro.text").graph
        assert entry.text is not None
        shape = len(captions), entry.text.tokens
        return torch.zeros(*shape, entry.text.width), torch.ones(*shape, dtype=torch.bool)


@pytest.mark.slow
def test_another_text_encoder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is opened on the device of training; a run is not resumed with another fingerprint."""
    opened: list[Any] = []

    def open_with(fingerprint: str) -> None:
        def opening(name: str, text: object, device: object = None) -> Encoder:
            opened.append(device)
            return Encoder(fingerprint)

        monkeypatch.setattr(text_encoders, "open_text_encoder", opening)

    recipe = recipe_of("noto-emoji-64", *TEXT)
    open_with("one")
    begin(recipe, tmp_path)
    assert opened == [torch.device("cpu")]
    open_with("another")
    with pytest.raises(CheckpointError, match="the text encoder has other weights"):
        train(recipe, tmp_path)
    open_with("one")
    train(recipe, tmp_path)


@pytest.mark.filterwarnings("ignore::builders.training.errors.OldStateWarning")
def test_states_of_older_and_newer_versions(tmp_path: Path) -> None:
    recipe = recipe_of("noto-emoji-64")
    begin(recipe, tmp_path)
    path = tmp_path / "state.safetensors"
    tensors, facts = read_tensors(path)
    older = {key: value for key, value in facts.items() if key != "data"}
    newer = older | {"standing": json.dumps({**json.loads(facts["standing"]), "unheard_of": 1})}
    write_tensors(path, tensors, newer)
    with pytest.raises(CheckpointError, match="a newer version of the zoo"):
        train(recipe, tmp_path)
    write_tensors(path, tensors, older)
    train(recipe, tmp_path)
    assert "data" in read_tensors(path)[1]


@pytest.mark.slow
def test_weights_of_another_recipe_are_not_overwritten(tmp_path: Path) -> None:
    recipe = recipe_of("noto-emoji-64")
    begin(recipe, tmp_path)
    (tmp_path / "state.safetensors").unlink()
    before = (tmp_path / "ema.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match=r"ema\.safetensors: weights of another recipe"):
        train(recipe_of("noto-emoji-64", "seed=1"), tmp_path)
    assert (tmp_path / "ema.safetensors").read_bytes() == before
    # As after a kill between the weights and the first state.
    train(recipe, tmp_path)


def grid_of(entry: str, data: Any, encoder: Any = None) -> tuple[int, int]:
    graph = load_entry(entry).graph
    model = build_model(graph).eval()
    return draw_grid(model, data, count=3, num_inference_steps=1, encoder=encoder).size


def test_grids_of_many_classes_and_of_no_captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from builders.training import validation as evaluation

    spec = tmp_path / "many.yaml"
    spec.write_text("name: many\nextends: mdm-micro\nnest: {inputs: {classes: 1000}}\n")
    bare = open_dataset(write_shard(tmp_path / "bare", [""] * 40)).load(16)
    assert grid_of(str(spec), bare) > (100, 100)
    drawn: list[Sequence[str]] = []
    real = evaluation.grid_of_samples
    monkeypatch.setattr(evaluation, "grid_of_samples", lambda *a, **k: drawn.append(a[1]) or real(*a, **k))
    grid_of("mdm-micro.text", bare, Encoder(""))
    said = open_dataset(write_shard(tmp_path / "said", [""] * 40, caption="a dot")).load(16)
    grid_of("mdm-micro.text", said, Encoder(""))
    assert drawn[0] == ["", "", ""] and len(set(drawn[1])) == 3 and all("a dot" in text for text in drawn[1])
    graph = load_entry("mdm-micro.text").graph
    process = DiffusionProcess(graph)
    val = open_dataset(tmp_path / "bare").load(16, "val")
    assert all(value > 0 for value in validation_losses(build_model(graph), process, val, encoder=Encoder("")).values())


def test_grids_of_large_images_take_a_bounded_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = open_dataset(write_shard(tmp_path / "data", list("abcdefghij") * 4)).load(16)
    asked: list[int] = []
    real = type(data).first
    monkeypatch.setattr(type(data), "first", lambda self, count: (asked.append(count), real(self, count))[1])
    monkeypatch.setattr("builders.sampling.nearest.COMPARED_BYTES", 7 * 12 * 16 * 16)
    grid_of("mdm-micro", data)
    assert asked == [7]


def test_the_recipe_that_is_written_is_the_one_that_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be read from another folder and resumes the run; a recipe with another order of phases does not."""
    write_shard(tmp_path / "data", list("abcdefghij") * 4)
    text = (
        "name: a\nentry: mdm-micro\ndata: ./data\nschedule: {warmup: 2, decay: cosine}\nphases:\n"
        "  one: {train: r8, steps: 2, batch: 2, schedule: {decay: constant}}\n  two: {train: r8, steps: 2, batch: 2}\n"
    )
    (tmp_path / "a.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    begin(load_recipe("./a.yaml"), tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    written = load_recipe("../run/recipe.json")
    assert written.schedule_of(written.phases["one"]).decay == "constant"
    lines = text.splitlines()
    (tmp_path / "b.yaml").write_text("\n".join([*lines[:-2], lines[-1], lines[-2]]) + "\n")
    with pytest.raises(CheckpointError, match="a recipe that differs in the order of its phases"):
        train(load_recipe(tmp_path / "b.yaml"), tmp_path / "run")
    (tmp_path / "c.yaml").write_text(text.replace("decay: constant", "warmup: 0"))
    with pytest.raises(CheckpointError, match=r"phases.one.schedule.warmup \(2, now 0\), phases.one.schedule.decay"):
        train(load_recipe(tmp_path / "c.yaml"), tmp_path / "run")
    train(written, tmp_path / "run")


@pytest.mark.slow
def test_captions_without_cached_states_are_reported_first(tmp_path: Path) -> None:
    data, other = (write_shard(tmp_path / name, [""] * 40, caption=name) for name in ("dots", "dashes"))
    text = load_entry("mdm-micro.text").graph.text
    assert text is not None
    encode_dataset(data, tmp_path / "states", text_encoders.open_text_encoder("embedded", text))
    cached = [*TEXT, f"text_encoder={tmp_path / 'states'}"]
    assert train(recipe_of(data, *cached), tmp_path / "first").is_file()
    for which in (other, f"{{{data}: 1, {other}: 1}}"):
        seen = Started()
        with pytest.raises(
            TrainingError, match=r"states has no states for the caption 'dashes \d+' of .*dashes: it was"
        ):
            train(recipe_of(which, *cached), tmp_path / "second", observer=seen)
        assert not seen.started


@pytest.mark.slow
def test_the_advice_for_a_damaged_state_helps(tmp_path: Path) -> None:
    """The newest state in checkpoints/ is another name of the damaged one."""
    recipe = recipe_of("noto-emoji-64", "checkpoints.last=3")
    train(recipe, tmp_path / "whole")
    begin(recipe, tmp_path / "run", 3)
    state, older = tmp_path / "run" / "state.safetensors", tmp_path / "run" / "checkpoints"
    assert state.samefile(older / "state-000000003.safetensors")
    with state.open("r+b") as file:
        file.seek(-9, 2)
        file.write(b"damaged!")
    with pytest.raises(
        CheckpointError, match="to resume from the state before it, copy .*state-000000002.safetensors over"
    ):
        train(recipe, tmp_path / "run")
    state.unlink()
    shutil.copy(older / "state-000000002.safetensors", state)
    again, whole = (
        read_tensors(path)[0] for path in (train(recipe, tmp_path / "run"), tmp_path / "whole" / "ema.safetensors")
    )
    assert all(torch.equal(again[name], value) for name, value in whole.items())


def test_runs_of_earlier_versions_resume(tmp_path: Path) -> None:
    """They wrote the changes of a phase with all defaults filled in, and a hash without them."""
    changes = ["schedule={warmup: 2, decay: cosine}", "phases.p16.schedule={decay: constant}"]
    recipe = recipe_of("noto-emoji-64", *changes)
    begin(recipe, tmp_path)
    tensors, facts = read_tensors(tmp_path / "state.safetensors")
    facts["recipe"] = json.dumps(recipe.model_dump(mode="json"))
    assert json.loads(facts["recipe"])["phases"]["p16"]["schedule"]["warmup"] == 0
    facts["recipe_hash"] = fingerprint_of_earlier_versions(recipe)
    del facts["ema_ages"]
    write_tensors(tmp_path / "state.safetensors", tensors, facts)
    with pytest.raises(CheckpointError, match=r"differs in seed \(0, now 1\)"):
        train(recipe_of("noto-emoji-64", *changes, "seed=1"), tmp_path)
    train(recipe, tmp_path)


@pytest.mark.slow
def test_a_run_resumes_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = train(recipe_of("noto-emoji-64"), tmp_path / "first")
    (tmp_path / "sub").mkdir()
    shutil.copy(weights, tmp_path / "sub" / "w.safetensors")
    text = "name: a\nextends: micro-test\ninitialise: ./w.safetensors\n"
    (tmp_path / "sub" / "a.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    begin(load_recipe("sub/a.yaml", SMALL), tmp_path / "run")
    monkeypatch.chdir(tmp_path / "sub")
    begin(load_recipe("./a.yaml", SMALL), tmp_path / "run")
    monkeypatch.chdir("/")
    train(load_recipe(tmp_path / "run" / "recipe.json"), tmp_path / "run")
