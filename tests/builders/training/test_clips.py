"""Training on clips and images: what phases read and grow from, resuming to the bit, and data that is refused."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

import builders.training.phase as phase_module
from builders.checkpoints.tensor_file import CheckpointError, read_tensors
from builders.sampling.grid import Grid
from builders.training.distributed import Processes
from builders.training.errors import Interrupted, TrainingError
from builders.training.json_log import JsonLog
from builders.training.phase import Phase
from builders.training.settings import phase_settings
from builders.training.start import train
from builders.training.state import RunProgress
from specs.recipe import load_recipe, load_recipe_and_graph
from tests.builders.training.test_processes import assert_close, records
from tests.helpers.clip_runs import write_recipe
from tests.helpers.networks import randomise
from tests.helpers.paths import ROOT
from tests.helpers.shards import samples, write_tar


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe with its entry and data."""
    return write_recipe(tmp_path_factory.mktemp("mixed"))


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builders.training.loop.draw_samples", lambda *_, **__: Grid(Image.new("RGB", (4, 4))))


@pytest.fixture(scope="module")
def straight(
    path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, list[list[tuple[int, ...]]]]]:
    """An uninterrupted run, and the shapes of the levels of its batches."""
    folder, shapes = tmp_path_factory.mktemp("straight"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builders.training.loop.draw_samples", lambda *_, **__: Grid(Image.new("RGB", (4, 4))))
        start = Phase.start

        def seen(self, number, batch, *rest):
            shapes.append([tuple(x.shape) for x in batch.images])
            return start(self, number, batch, *rest)

        patch.setattr(Phase, "start", seen)
        train(load_recipe(path), folder, observer=JsonLog())
    yield folder, shapes


def assert_equal(one: Path, other: Path) -> None:
    for name in ("state.safetensors", "ema.safetensors"):
        (a, facts), (b, same) = read_tensors(one / name), read_tensors(other / name)
        assert set(a) == set(b) and all(a[key].equal(b[key]) for key in a), name
        assert facts["standing"] == same["standing"] if name.startswith("state") else facts["phase"] == same["phase"]
    for key in ("loss", "val_v_loss", "monitor"):
        assert records(one, key) == records(other, key)


def test_phases_read_images_then_clips(straight):
    """The side of r8 and r8f4 is the same, and so is that of the clips and the images."""
    _, shapes = straight
    assert shapes[:3] == [[(4, 3, 8, 8)]] * 3
    assert shapes[3:7] == [[(2, 3, 4, 8, 8), (5, 3, 8, 8)]] * 4
    assert shapes[7:] == [[(2, 3, 4, 16, 16), (3, 3, 4, 8, 8), (5, 3, 8, 8)]] * 3


def test_files_of_a_run_name_levels_by_label(straight):
    folder, _ = straight
    assert [list(record["loss"]) for record in records(folder, "loss")][3:8:4] == [
        ["r8f4", "r8"],
        ["r16f4", "r8f4", "r8"],
    ]
    assert [list(record["val_v_loss"]) for record in records(folder, "val_v_loss")] == [
        ["r8"], ["r8f4", "r8"], ["r16f4", "r8f4", "r8"],
    ]  # fmt: skip
    monitor = records(folder, "monitor")[-1]["monitor"]
    assert {name for name in monitor if name.startswith("mean_loss")} == {
        "mean_loss/r16f4", "mean_loss/r8f4", "mean_loss/r8",
    }  # fmt: skip
    best = sorted(path.name.rpartition("-")[0] for path in (folder / "checkpoints").glob("best-*"))
    assert [name.split("-")[1] for name in best] == ["p16v", "p8", "p8v"]
    _, facts = read_tensors(folder / "state.safetensors")
    # Images: 3 x 4, 4 x 3 and 3 x 2; clips: none, 4 x 2 and 3 x 3, of which earlier phases drew the first two.
    assert json.loads(facts["standing"])["samples_before"] == 8
    assert json.loads(facts["standing"])["images_before"] == 24
    assert json.loads(facts["data"])["images"]["samples"] > 0
    assert read_tensors(folder / "ema.safetensors")[1]["data"] == "./clips.tar"


@pytest.mark.parametrize("stops", [((5, 2),), pytest.param(((1, 0), (5, 2), (7, 0)), marks=pytest.mark.slow)])
def test_resumed_run_equals_an_uninterrupted_one(path, straight, tmp_path, stops):
    """Stopped in a phase of images, in one of clips, and at the end of one, with and without workers."""
    done = 0
    for stop, workers in stops:
        count = iter(range(done + 1, 1000))
        with pytest.raises(Interrupted):
            recipe = load_recipe(path, [f"workers={workers}"])
            train(recipe, tmp_path, observer=JsonLog(), stop=lambda stop=stop, count=count: next(count) == stop)
        done = stop
    train(load_recipe(path, ["workers=0" if len(stops) == 1 else "workers=2"]), tmp_path, observer=JsonLog())
    assert_equal(tmp_path, straight[0])


def test_progress_of_runs_on_images_is_saved_as_before():
    progress = RunProgress("a", step=3, samples_before=5)
    assert "images_before" not in progress.facts()
    assert progress.next_phase("b", 4).facts() == progress.next_phase("b", 4, 0).facts()
    both = progress.next_phase("b", 4, 2)
    assert (both.samples_before, both.images_before) == (17, 6)
    assert RunProgress(**json.loads(json.dumps(both.facts()))) == both


def test_level_of_clips_starts_with_the_predictions_of_the_images_inside(path):
    recipe, graph = load_recipe_and_graph(path)
    processes = Processes("cpu")
    inner = Phase(phase_settings(recipe, graph, "p8"), processes)
    randomise(inner.model)
    outer = Phase(phase_settings(recipe, graph, "p8v"), processes)
    outer.initialize(inner)
    z, classes = [torch.randn(2, 3, 4, 8, 8), torch.randn(3, 3, 8, 8)], torch.tensor([0, 1, 2])
    with torch.no_grad():
        expected = inner.model.eval()(z[1:], 300, classes=classes)[0]
        found = outer.model.eval()(z, 300, classes=classes)
    assert torch.equal(found[1], expected) and found[0].shape == (2, 3, 4, 8, 8)
    assert outer.ema.ages == {"r8f4": 0, "r8": inner.ema.ages["r8"]}


def test_run_is_refused_if_its_images_changed(path, straight, tmp_path):
    for name in ("clips.tar", "micro-v.yaml", "mixed.yaml"):
        (tmp_path / name).write_bytes((path.parent / name).read_bytes())
    write_tar(tmp_path / "photos.tar", samples(24, category=""))
    recipe = load_recipe(tmp_path / "mixed.yaml")
    count = iter(range(1, 9))
    with pytest.raises(Interrupted):
        train(recipe, tmp_path / "run", stop=lambda: next(count) == 5)
    write_tar(tmp_path / "photos.tar", samples(20, category=""))
    with pytest.raises(
        CheckpointError, match=r"changed since it was stopped: .*images: it has \d+ training images, not"
    ):
        train(recipe, tmp_path / "run")


def test_bad_batch_has_a_tensor_for_every_level(path, tmp_path, monkeypatch):
    """The levels r8f4 and r8 have the same side."""
    honest = phase_module.sample_losses

    def spoiled(*arguments):
        return {label: loss * (torch.nan if label == "r8f4" else 1) for label, loss in honest(*arguments).items()}

    monkeypatch.setattr(phase_module, "sample_losses", spoiled)
    recipe = load_recipe(path, ["phases.p8.steps=1", "max_bad_steps=1"])
    with pytest.raises(TrainingError, match="the loss of level r8f4 at times"):
        train(recipe, tmp_path)
    tensors, facts = read_tensors(tmp_path / "bad-batch.safetensors")
    assert tensors["image/r8f4"].shape == (2, 3, 4, 8, 8) and tensors["image/r8"].shape == (5, 3, 8, 8)
    assert tensors["noise/r8f4"].shape == (2, 3, 4, 8, 8) and len(facts["keys"].splitlines()) == 5


@pytest.mark.parametrize("key", ["data", "images"])
def test_data_that_does_not_fit_is_refused_before_the_first_step(path, tmp_path, key):
    photos = path.parent / "photos.tar"
    if key == "data":
        changes, message = (
            [f"data={photos}"],
            r"phase p8v trains r8f4 on clips of 4 frames, but \S+photos.tar has images",
        )
    else:
        write_tar(tmp_path / "others.tar", samples(9, category="bird"))
        changes, message = [f"images={tmp_path / 'others.tar'}"], r"under 'images', has others \(bird\)"
    with pytest.raises(TrainingError, match=message):
        train(load_recipe(path, [*changes, *(["classes=0"] if key == "data" else [])]), tmp_path / "run")
    assert not (tmp_path / "run" / "state.safetensors").exists()


def test_images_alone_serve_a_recipe_without_a_phase_of_clips(path, tmp_path):
    """An image is a clip of one frame: a set of images, or first frames of clips."""
    changes = ["phases.p8v=null", "phases.p16v=null", "phases.p8.steps=1", "images=null"]
    for number, data in enumerate(("photos.tar", "clips.tar")):
        recipe = load_recipe(path, [*changes, f"data={path.parent / data}", *(["classes=0"] if not number else [])])
        assert train(recipe, tmp_path / str(number)).is_file()


COMMAND = [sys.executable, "-c", "from zoo.cli import main; main()", "train", "--no-track", "--quiet"]


def killed(command: list[str], folder: Path, seconds: float | None = None, lines: int | None = None) -> None:
    """Train in another process and kill it after some seconds, or when its log has some lines."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    log, started = folder / "log.jsonl", time.monotonic()
    while process.poll() is None and time.monotonic() - started < 90:
        if lines is not None and log.is_file() and len(log.read_text().splitlines()) >= lines:
            break
        if seconds is not None and time.monotonic() - started >= seconds:
            break
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):  # it was faster
        os.killpg(process.pid, 9)
    process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_killed_at_random_and_twice(path, straight, tmp_path, seed):
    generator = random.Random(seed)
    command = [*COMMAND, str(path), "-o", str(tmp_path), "--set", f"workers={seed % 3}"]
    killed(command, tmp_path, lines=generator.randint(1, 12))
    # Also while starting, reading its state or saving.
    killed(command, tmp_path, seconds=generator.uniform(2, 12))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert_equal(tmp_path, straight[0])


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(path, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom builders.training.json_log import JsonLog\nfrom builders.training.start import train\n"
        "from specs.recipe import load_recipe\ntrain(load_recipe(sys.argv[1]), sys.argv[2], observer=JsonLog())\n"
    )
    train(load_recipe(path), tmp_path / "one", observer=JsonLog())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(script), str(path), str(tmp_path / "two")],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for key in ("loss", "val_v_loss", "monitor"):
        assert len(records(tmp_path / "one", key)) > 0
        for mine, theirs in zip(records(tmp_path / "one", key), records(tmp_path / "two", key), strict=True):
            assert_close(mine, theirs)
