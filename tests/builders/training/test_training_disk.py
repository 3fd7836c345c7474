"""Training when the system fails: full disks at every file, truncated logs, lost workers and memory."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from builders.checkpoints.tensor_file import CheckpointError, read_tensors
from builders.data.errors import DataError
from builders.training import phase, retention
from builders.training.distributed import Processes
from builders.training.engine.results import StartedStep, StepResult
from builders.training.errors import TrainingError, TrainingWarning
from builders.training.json_log import JsonLog, LogError
from builders.training.loop import Interrupted
from builders.training.observers import Observer, Observers, RunInfo, StepReport
from builders.training.start import train
from specs.recipe import Recipe, load_recipe
from tests.helpers.shards import write_shard

pytestmark = pytest.mark.usefixtures("light_measures")

SMALL = [
    "phases.p8.steps=4", "phases.p8.batch=2", "phases.p16=null", "checkpoints={last: 2, best: 1}",
    "every={checkpoint: 2, evaluate: 0, samples: 0}",
]  # fmt: skip


class End(Observer):
    def __init__(self) -> None:
        self.end = ""

    def on_end(self, status: str) -> None:
        self.end = status


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    data = write_shard(tmp_path_factory.mktemp("data"), list("abcdefghij") * 4)
    return load_recipe("micro-test", [*SMALL, f"data={data}"])


def begin(recipe: Recipe, folder: Path, steps: int = 2) -> None:
    count = iter(range(1, 1000))
    with pytest.raises(Interrupted):
        train(recipe, folder, observer=JsonLog(), stop=lambda: next(count) >= steps)


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("what", ["recipe", "states", pytest.param("weights", marks=pytest.mark.slow)])
def test_a_full_disk_is_reported_with_the_file(
    what: str, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(recipe, tmp_path)
    before = (tmp_path / "state.safetensors").read_bytes()
    seen, names = End(), {"recipe": "recipe.json", "states": "checkpoints", "weights": "best-p8"}
    with monkeypatch.context() as patch:
        if what == "recipe":
            (tmp_path / "recipe.json").unlink()
            patch.setattr(Path, "write_text", no_space)
        elif what == "states":
            patch.setattr(retention, "_copy", no_space)
        else:
            patch.setattr("builders.checkpoints.tensor_file._write_safetensors", no_space)
        with pytest.raises(CheckpointError, match=rf"{names[what]}.*cannot be written \(No space left on device\)"):
            train(recipe, tmp_path, observer=seen)
    assert seen.end == "failed"
    if what != "states":  # there the state itself was written before
        assert (tmp_path / "state.safetensors").read_bytes() == before
    train(recipe, tmp_path, observer=JsonLog())
    straight = tmp_path / "straight"
    train(recipe, straight, observer=JsonLog())
    assert (tmp_path / "state.safetensors").read_bytes() == (straight / "state.safetensors").read_bytes()
    assert not list(tmp_path.glob("**/.*.tmp"))


@pytest.mark.parametrize("where", ["training.loop.draw_samples", "sampling.grid.save_image"])
def test_a_picture_that_fails_is_a_warning_and_drawn_when_the_run_is_resumed(
    where: str, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(f"builders.{where}", no_space)
        with pytest.warns(TrainingWarning, match=r"step 4: no samples were drawn \(.*No space left"):
            train(recipe, tmp_path)
    state, picture = (tmp_path / "state.safetensors").read_bytes(), tmp_path / "grids" / "p8-000004.png"
    assert not picture.exists()
    train(recipe, tmp_path)
    assert picture.is_file() and (tmp_path / "state.safetensors").read_bytes() == state
    with monkeypatch.context() as patch:  # a finished run builds nothing
        patch.setattr("builders.training.loop.Phase", no_space)
        train(recipe, tmp_path)


def test_a_validation_that_fails_is_a_warning(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builders.training.loop.validation_losses", no_space)
    with pytest.warns(TrainingWarning, match=r"step 4: no validation loss was measured \(.*No space"):
        train(recipe, tmp_path)
    assert (tmp_path / "state.safetensors").is_file()


def test_the_state_is_saved_before_the_samples_are_drawn(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("builders.training.loop.draw_samples", killed)
        train(recipe, tmp_path)
    assert read_tensors(tmp_path / "state.safetensors")[1]["step"] == "4"
    train(recipe, tmp_path)
    assert (tmp_path / "grids" / "p8-000004.png").is_file()


def test_a_retained_state_is_repaired(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between writing the state and retaining it under the name of its step."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(retention, "_copy", killed)
        train(recipe, tmp_path)
    saved = tmp_path / "checkpoints" / "state-000000002.safetensors"
    assert (tmp_path / "state.safetensors").is_file() and not saved.exists()
    train(recipe, tmp_path)
    assert saved.is_file() and read_tensors(saved)[1]["step"] == "2"


def test_a_log_that_cannot_be_written_is_reported_once(recipe: Recipe, tmp_path: Path) -> None:
    class Full(JsonLog):
        def on_start(self, run: RunInfo) -> None:
            super().on_start(run)
            self._file.close()
            self._file = open("/dev/full", "w")  # noqa: SIM115

    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    begin(recipe, tmp_path)
    seen = End()
    message = r"Full\.on_step failed \(.*log\.jsonl: cannot be written \(No space left on device\).*training continues"
    with pytest.warns(TrainingWarning, match=message) as caught:
        train(recipe, tmp_path, observer=Observers([Full(), seen]))
    assert seen.end == "finished" and len(caught) == 1


def test_observers_that_fail_do_not_end_training() -> None:
    class Fails(Observer):
        def on_step(self, report: StepReport) -> None:
            raise RuntimeError("no\nconnection")

        def on_end(self, status: str) -> None:
            raise LogError("full")

    seen = End()
    observers = Observers([Fails(), seen, Fails()])
    with pytest.warns(TrainingWarning) as caught:
        for _ in range(3):
            observers.on_step(SimpleNamespace())
        observers.on_end("finished")
    assert seen.end == "finished"
    step, end = "Fails.on_step failed (RuntimeError: no)", "Fails.on_end failed (full)"
    assert [str(each.message) for each in caught] == [f"{text}; training continues" for text in (step, step, end, end)]


def test_an_observer_that_cannot_start_ends_training_before_the_first_step(recipe: Recipe, tmp_path: Path) -> None:
    class Fails(Observer):
        def on_start(self, run: RunInfo) -> None:
            raise ValueError("no features")

    seen = End()
    with pytest.raises(ValueError, match="no features"):
        train(recipe, tmp_path, observer=Observers([Fails(), seen]))
    assert not (tmp_path / "state.safetensors").exists()


@pytest.mark.parametrize("damage", ["cut", "binary", "number"])
def test_a_damaged_log_is_continued(damage: str, recipe: Recipe, tmp_path: Path) -> None:
    begin(recipe, tmp_path)
    log = tmp_path / "log.jsonl"
    content = log.read_bytes()
    log.write_bytes({"cut": content[:-9], "binary": content + b"\xff\xfe{\n", "number": b"7\n" + content}[damage])
    train(recipe, tmp_path, observer=JsonLog())
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [record["step"] for record in records if "loss" in record] == [1, 2, 3, 4]


def test_temporary_files_of_a_killed_run_are_deleted_and_no_others(recipe: Recipe, tmp_path: Path) -> None:
    for folder in ("grids", "checkpoints", "mine"):
        (tmp_path / folder).mkdir()
    ours = [
        ".state.safetensors.1.tmp", ".ema.safetensors.22.tmp", ".state.safetensors.1-0123abcd.zoo.tmp",
        "grids/.p8.png.1-0123abcd.zoo.tmp", "checkpoints/.best-p8.safetensors.9-0123abcd.zoo.tmp",
    ]  # fmt: skip
    others = [
        ".notes.tmp", ".cache.123.tmp", ".other.safetensors.1.tmp", "grids/.a.png.1.tmp", ".x.zoo.tmp",
        "mine/.a.png.1-0123abcd.zoo.tmp", "notes.tmp", ".state.safetensors.tmp",
    ]  # fmt: skip
    for name in (*ours, *others):
        (tmp_path / name).write_text(name)
    (tmp_path / ".folder.1-0123abcd.zoo.tmp").mkdir()
    (tmp_path / ".link.1-0123abcd.zoo.tmp").symlink_to(tmp_path / ".notes.tmp")
    train(recipe, tmp_path)
    assert not [name for name in ours if (tmp_path / name).exists()]
    assert all((tmp_path / name).read_text() == name for name in others)
    assert (tmp_path / ".folder.1-0123abcd.zoo.tmp").is_dir() and (tmp_path / ".link.1-0123abcd.zoo.tmp").is_symlink()


def test_a_lock_that_is_a_link_is_refused_and_its_target_unchanged(recipe: Recipe, tmp_path: Path) -> None:
    precious, run = tmp_path / "precious.txt", tmp_path / "run"
    precious.write_text("precious")
    run.mkdir()
    (run / ".lock").symlink_to(precious)
    with pytest.raises(
        CheckpointError, match=r"run: cannot be written to \(the lock file is a symbolic link: .*/\.lock\)"
    ):
        train(recipe, run)
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("name", ["", "state.safetensors", "ema.safetensors", "recipe.json", "log.jsonl"])
def test_what_is_no_file_or_folder_is_reported_before_the_first_step(name: str, recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    if name:
        (run / name).mkdir(parents=True)
    else:
        run.symlink_to(tmp_path / "nosuch")
    with pytest.raises(CheckpointError, match=rf"{name or 'run'}: this is no f(ile|older); .*choose another --output"):
        train(recipe, run)


@pytest.mark.parametrize("name", ["grids", "checkpoints"])
def test_files_in_place_of_folders_are_reported(name: str, recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=rf"{name}: this is no folder; remove it"):
        train(recipe, tmp_path)


@pytest.mark.slow
def test_phases_of_any_name_stay_in_the_folder(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"steps": 1, "batch": 2, "train": "r8", "learning_rate": None, "schedule": None}
    phase = recipe.phases["p8"].model_copy(update=changes)
    names = ["../../x", "a/b", "", "a\nb", "x" * 300, "Flags", "flags"]
    run = tmp_path / "a" / "b" / "run"
    train(recipe.model_copy(update={"phases": dict.fromkeys(names, phase)}), run, observer=JsonLog())
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and [p.name for p in (tmp_path / "a/b").iterdir()] == [
        "run"
    ]
    assert len({path.name.casefold() for path in (run / "grids").iterdir()}) == len(names)
    assert len(list((run / "checkpoints").glob("best-*"))) == len(names)
    assert (run / "grids" / "Flags-000001.png").is_file() and (run / "grids" / "a~2Fb-000001.png").is_file()


def test_recipe_json_follows_what_may_change(recipe: Recipe, tmp_path: Path) -> None:
    begin(recipe, tmp_path)
    train(recipe.model_copy(update={"licence": "CC0"}), tmp_path)
    assert json.loads((tmp_path / "recipe.json").read_text())["licence"] == "CC0"


def test_an_error_in_a_worker_is_the_same_error(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from builders.training.batches import BatchPlan

    def broken(self: BatchPlan, step: int, data: object) -> None:
        raise DataError("set: too many are broken")

    monkeypatch.setattr(BatchPlan, "read", broken)
    for workers in (0, 1):
        with pytest.raises(DataError) as caught:
            train(recipe.model_copy(update={"workers": workers}), tmp_path)
        assert str(caught.value) == "set: too many are broken"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory.\nDetails"),
            r"out of memory \(CUDA out of memory.\); use a smaller",
        ),
        (
            RuntimeError("[enforce] DefaultCPUAllocator: can't allocate memory"),
            "out of memory .*smaller batch",
        ),
        (MemoryError(), "out of memory; use a smaller batch"),
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), "a data-loading worker died"),
    ],
)
def test_lost_memory_is_reported(
    error: Exception, message: str, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(phase.Phase, "start", fails)
    with pytest.raises(TrainingError, match=message):
        train(recipe, tmp_path)


def test_a_scale_that_was_too_large_is_not_a_bad_step(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first float16 steps overflow until the scale is low enough; they update nothing and do not end training."""
    from dataclasses import replace

    real, count = StartedStep.result, iter(range(1000))

    def result(self: StartedStep) -> StepResult:
        found = real(self)
        return replace(found, updated=False, rescaled=True) if next(count) < 3 else found

    monkeypatch.setattr(StartedStep, "result", result)
    train(recipe.model_copy(update={"max_bad_steps": 1}), tmp_path)
    assert json.loads(read_tensors(tmp_path / "state.safetensors")[1]["standing"])["bad_steps"] == 0


def test_a_file_system_without_locks_works(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def flock(file: object, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    train(recipe, tmp_path)


def test_gradient_accumulation_of_a_launcher_does_not_divide_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    weight = torch.nn.Parameter(torch.ones(1))
    Processes("cpu").backward((3 * weight).sum())
    assert weight.grad is not None and weight.grad.item() == 3
