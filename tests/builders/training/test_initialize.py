"""Where initial weights come from, and which levels of a weights file an entry shares."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from builders.checkpoints.tensor_file import CheckpointError
from builders.checkpoints.weights import save_weights
from builders.networks.nested_unet import NestedUNet, build_model
from builders.training.checks import check_sources
from builders.training.errors import OtherProcessWarning, TrainingError
from builders.training.initialize import check_shared, load_shared, process_difference, weights_file
from builders.training.settings import phase_settings
from specs.graph import EntryGraph, Process
from specs.load import load_entry
from specs.recipe import load_recipe
from tests.helpers.networks import randomise

GRAPH = load_entry("mdm-micro").graph


def network(graph: EntryGraph = GRAPH, seed: int = 0) -> NestedUNet:
    return randomise(build_model(graph), seed)


def written(path: Path, model: NestedUNet, *without: str) -> Path:
    """A weights file of a network, lacking some tensors."""
    save_weights(path, model.graph, {name: each for name, each in model.state_dict().items() if name not in without})
    return path


def test_a_file_a_run_and_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    file, run = tmp_path / "some.safetensors", tmp_path / "run"
    run.mkdir()
    for path in (file, run / "ema.safetensors"):
        path.touch()
    assert weights_file(str(file)) == file
    assert weights_file("some.safetensors") == Path("some.safetensors")
    assert weights_file("~/some.safetensors") == file
    assert weights_file(str(run)) == run / "ema.safetensors"
    shipped = weights_file("mdm-nano")
    assert shipped.name == "mdm-nano.safetensors" and shipped.is_file()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gone.safetensors", "^initialise: gone.safetensors: no such weights file$"),
        ("./gone", "^initialise: gone: no such weights file$"),
        # A folder is a run, and a run has its average.
        ("./run", "^initialise: run/ema.safetensors: no such weights file$"),
        (
            "mdm-nanu",
            r"^initialise: the package has no weights of an entry 'mdm-nanu'; did you mean 'mdm-nano'\? "
            r"\(entries with weights: flat-n64, mdm-nano, mdm-nano-v, mdm-nano.glyphs, mdm-nano.text, unetpp-n64",
        ),
    ],
)
def test_sources_that_are_not_there(source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    with pytest.raises(TrainingError, match=message):
        weights_file(source)


def test_shared_levels_are_loaded_with_the_inputs(tmp_path: Path) -> None:
    """Of an inner entry, of the entry itself, and of one around it."""
    inner = GRAPH.inner("r8")
    for ours, theirs, labels in ((GRAPH, inner, ("r8",)), (GRAPH, GRAPH, ("r16", "r8")), (inner, GRAPH, ("r8",))):
        source, model = network(theirs, seed=1), network(ours)
        path = written(tmp_path / "weights.safetensors", source)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        assert check_shared(ours, path) == labels
        assert load_shared(model, path) == labels
        for name, value in model.state_dict().items():
            shared = not name.startswith("levels.") or name.split(".")[1] in labels
            assert torch.equal(value, source.state_dict()[name] if shared else before[name]), name


def test_the_largest_shared_level_counts(tmp_path: Path) -> None:
    """What is around it may differ; what has its name and another structure is not it."""
    outer = replace(GRAPH.levels[0], head_groups=4)
    other = replace(GRAPH, name="other", levels=(outer, GRAPH.levels[1]))
    path = written(tmp_path / "weights.safetensors", network(other, seed=1))
    assert check_shared(GRAPH, path) == ("r8",)


def test_levels_that_are_not_shared(tmp_path: Path) -> None:
    inner = replace(GRAPH.levels[1], head_groups=4)
    other = replace(GRAPH, name="other", levels=(GRAPH.levels[0], inner))
    path = written(tmp_path / "weights.safetensors", network(other))
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    message = r"weights.safetensors holds other \(r16, r8\), which has no level in common with mdm-micro \(r16, r8\)"
    with pytest.raises(TrainingError, match=message):
        check_shared(GRAPH, path)
    with pytest.raises(TrainingError, match=message):
        load_shared(model, path)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("count", [1, 4, 5])
def test_files_that_lack_weights_load_nothing(count: int, tmp_path: Path) -> None:
    source, model = network(seed=1), network()
    names = [name for name in sorted(source.state_dict()) if name.startswith(("inputs.", "levels.r8."))][:count]
    path = written(tmp_path / "weights.safetensors", source, *names)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = f"{path}: missing {', '.join(names[:4])}{' ...' if count > 4 else ''}"
    with pytest.raises(CheckpointError) as caught:
        load_shared(model, path)
    assert str(caught.value) == expected
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_files_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"nothing")
    for read in (lambda: check_shared(GRAPH, path), lambda: load_shared(network(), path)):
        with pytest.raises(CheckpointError):
            read()


@pytest.mark.parametrize(
    ("process", "found"),
    [
        (Process(schedule="linear"), "levels r16, r8 were trained with the process {schedule: linear, steps: 1000, "),
        (Process(steps=500), "{schedule: cosine, steps: 500, shift: 1, prediction: v}"),
        (Process(shift=2), "level r16 was trained with the process {schedule: cosine, steps: 1000, shift: 2, pred"),
        (Process(residual=0.1), "level r16 was trained with the process {schedule: cosine, steps: 1000, shift: 1, "),
        (Process(residual=0.1), "prediction: v, residual: 0.1}"),
        (Process(noise="shared"), "level r16 was trained with the process {schedule: cosine, steps: 1000, shift: 1, "),
        (
            Process(base=4),
            "levels r16, r8 were trained with the process {schedule: cosine, steps: 1000, shift: 1, base",
        ),
    ],
)
def test_weights_of_another_process_are_named(process: Process, found: str, tmp_path: Path) -> None:
    theirs = replace(GRAPH, process=process)
    path = written(tmp_path / "weights.safetensors", network(theirs))
    text = process_difference(GRAPH, path)
    assert text.startswith(f"{path}: its ") and found in text
    assert text.endswith(", not with {schedule: cosine, steps: 1000, shift: 1, prediction: v} of mdm-micro")
    assert process_difference(theirs, path) == ""


def test_training_warns_of_weights_of_another_process(tmp_path: Path) -> None:
    path = written(tmp_path / "weights.safetensors", network(replace(GRAPH, process=Process("linear"))))
    settings = phase_settings(load_recipe("micro-test", [f"initialise={path}"]), GRAPH, "p8")
    with pytest.warns(OtherProcessWarning, match=r"its level r8 was trained with .*linear.* not with .*cosine"):
        check_sources([settings])


def test_a_shift_of_the_innermost_level_is_no_other_process(tmp_path: Path) -> None:
    """A level trained by itself is nested in an entry of any shift: its own noise stays the same."""
    path = written(tmp_path / "weights.safetensors", network(GRAPH.inner("r8")))
    assert process_difference(replace(GRAPH, process=Process(shift=2)), path) == ""
