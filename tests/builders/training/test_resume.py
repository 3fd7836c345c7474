"""A run that is killed at any time, even while saving and more than once, ends in the bits of an uninterrupted one."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from builders.checkpoints.tensor_file import CheckpointError, read_tensors
from builders.training import start as training
from builders.training.json_log import JsonLog
from builders.training.observers import Observer, Observers
from specs.recipe import Recipe, load_recipe
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.usefixtures("light_measures")

CHANGES = [
    "phases.p8.steps=6", "phases.p16.steps=6", "phases.p8.batch=4", "phases.p16.batch=4", "workers=2",
    "every={checkpoint: 2, evaluate: 0, monitor: 0}", "flip=true",
]  # fmt: skip
COMMAND = [sys.executable, "-c", "from zoo.cli import main; main()", "train", "micro-test", "--no-track", "--quiet"]
COMMAND += [word for change in CHANGES for word in ("--set", change)]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def train(recipe: Recipe, folder: Path, observer: Observer | None = None) -> None:
    """Train with the log that the command line writes."""
    training.train(recipe, folder, observer=Observers([JsonLog(), *([observer] if observer else [])]))


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("micro-test", CHANGES)


@pytest.fixture(scope="module")
def straight(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run without workers, which do not change the result."""
    folder = tmp_path_factory.mktemp("straight")
    train(recipe.model_copy(update={"workers": 0}), folder)
    return folder


def losses(run: Path) -> list[object]:
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [(r["step"], r["loss"], r["learning_rate"], r["gradient_norm"]) for r in records if "loss" in r]


def assert_equal(run: Path, straight: Path) -> None:
    for name in ("state.safetensors", "ema.safetensors"):
        one, _ = read_tensors(run / name)
        two, _ = read_tensors(straight / name)
        assert set(one) == set(two)
        assert all(one[key].equal(two[key]) for key in one), name
    assert losses(run) == losses(straight)
    assert not list(run.glob(".*.tmp"))


def killed(folder: Path, seconds: float | None = None, lines: int | None = None) -> None:
    """Train in another process and kill it after some seconds, or when its log has some lines."""
    process = subprocess.Popen(COMMAND, cwd=folder, env=ENVIRONMENT, stderr=subprocess.DEVNULL, start_new_session=True)
    log = folder / "runs" / "micro-test" / "log.jsonl"
    started = time.monotonic()
    while process.poll() is None and time.monotonic() - started < 90:
        if lines is not None and log.is_file() and len(log.read_text().splitlines()) >= lines:
            break
        if seconds is not None and time.monotonic() - started >= seconds:
            break
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):  # it was faster
        os.killpg(process.pid, 9)
    process.wait()


def resumed(folder: Path) -> Path:
    again = subprocess.run(COMMAND, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=180)
    assert again.returncode == 0, again.stderr
    return folder / "runs" / "micro-test"


@pytest.mark.slow
def test_killed_with_workers(straight: Path, tmp_path: Path) -> None:
    killed(tmp_path, lines=5)
    assert_equal(resumed(tmp_path), straight)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_killed_at_random_and_twice(straight: Path, tmp_path: Path, seed: int) -> None:
    generator = random.Random(seed)
    killed(tmp_path, lines=generator.randint(1, 6))
    # Also while starting, reading its state or saving.
    killed(tmp_path, seconds=generator.uniform(1, 7))
    assert_equal(resumed(tmp_path), straight)


class StopWhileSaving(Observer):
    """Simulates a process that dies while it writes its state."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        import builders.checkpoints.tensor_file as checkpoint

        real, count = checkpoint._write_safetensors, []

        def dying(file, tensors, metadata):
            count.append(1)
            if len(count) == number:
                file.write(b"half")
                raise KeyboardInterrupt
            return real(file, tensors, metadata)

        monkeypatch.setattr(checkpoint, "_write_safetensors", dying)


@pytest.mark.parametrize("number", [1, *(pytest.param(number, marks=pytest.mark.slow) for number in (2, 3, 8))])
def test_stopped_while_saving(
    recipe: Recipe, straight: Path, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = recipe.model_copy(update={"workers": 0})
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        train(plain, tmp_path, observer=StopWhileSaving(patch, number))
    train(plain, tmp_path)
    assert_equal(tmp_path, straight)


def test_full_disk_keeps_the_checkpoint_before(tmp_path: Path, recipe: Recipe) -> None:
    """A limit on file sizes simulates a full disk: writing fails in the same way."""
    plain = recipe.model_copy(update={"workers": 0})

    class Fill(Observer):
        def on_checkpoint(self, step: int, path: Path) -> None:
            if step == 4:
                resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))

    import signal

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(CheckpointError, match=r"cannot be written \(File too large\); an existing checkpoint"):
            train(plain, tmp_path, observer=Fill())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    _, facts = read_tensors(tmp_path / "state.safetensors")
    assert facts["step"] == "4"
    train(plain, tmp_path)
    assert len({step for step, *_ in losses(tmp_path)}) == 12


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "junk"])
def test_a_damaged_state_is_refused(tmp_path: Path, recipe: Recipe, straight: Path, damage: str) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(straight, run)
    state = run / "state.safetensors"
    content = bytearray(state.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    content = {"cut": content[: len(content) // 2], "empty": b"", "junk": b"junk" * 500}.get(damage, content)
    state.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match=r"state\.safetensors") as caught:
        train(recipe.model_copy(update={"workers": 0}), run)
    assert "nothing was loaded" in str(caught.value)
    # The damaged state is unchanged.
    assert state.read_bytes() == bytes(content)
