"""Training: phases that grow outwards, random numbers that depend on the step alone, and resuming to the bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from builders.checkpoints.tensor_file import CheckpointError, read_tensors
from builders.checkpoints.weights import load_checkpoint
from builders.data.images import Images
from builders.data.open import open_data
from builders.diffusion.losses import level_losses, snr_weights
from builders.diffusion.process import DiffusionProcess, eps_loss, v_loss
from builders.diffusion.schedules import min_snr_weight, sigmoid_weight, soft_min_snr_weight, vdm_weight
from builders.training.batches import Batch
from builders.training.distributed import Processes
from builders.training.json_log import JsonLog
from builders.training.loop import Interrupted
from builders.training.observers import Observer, Observers, RunInfo, StepReport
from builders.training.phase import Phase, StepResult
from builders.training.settings import phase_settings
from builders.training.start import train
from builders.training.validation import validation_losses
from specs.load import load_entry
from specs.recipe import Recipe, load_recipe
from specs.schemas.recipe import LossSpec
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.usefixtures("light_measures")

SMALL = [
    "phases.p8.steps=4", "phases.p8.batch=4", "phases.p16.steps=4", "phases.p16.batch={r16: 2, r8: 4}",
    "every={checkpoint: 3, evaluate: 0, samples: 0}",
]  # fmt: skip


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("micro-test", SMALL)


@pytest.fixture(scope="module")
def data() -> Images:
    return open_data("noto-emoji-64", 16, "train")


@pytest.fixture(scope="module")
def straight(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("straight")
    train(recipe, folder, observer=JsonLog())
    return folder


class Recorder(Observer):
    """Records all calls."""

    def __init__(self) -> None:
        self.steps: list[StepReport] = []
        self.calls: list[str] = []

    def on_start(self, run: RunInfo) -> None:
        self.calls.append("start")

    def on_phase(self, name: str, graph: object, steps: int, done: int) -> None:
        self.calls.append(f"phase {name} {done}/{steps}")

    def on_step(self, report: StepReport) -> None:
        self.steps.append(report)

    def on_evaluate(self, step: int, losses: Mapping[str, float]) -> None:
        self.calls.append(f"evaluate {step} {' '.join(losses)}")

    def on_grid(self, step: int, phase: str, grid: object, path: Path) -> None:
        assert path.is_file()
        self.calls.append(f"grid {step}")

    def on_checkpoint(self, step: int, path: Path) -> None:
        assert path.is_file()
        self.calls.append(f"checkpoint {step}")

    def on_end(self, status: str) -> None:
        self.calls.append(status)


def after(steps: int) -> Callable[[], bool]:
    """Return a ``stop`` that is True after some steps."""
    count = iter(range(1, 1_000_000))
    return lambda: next(count) >= steps


def test_observers_are_called(recipe: Recipe, tmp_path: Path) -> None:
    seen = Recorder()
    train(recipe, tmp_path, observer=Observers([seen]))
    assert seen.calls == [
        "start",
        "phase p8 0/4", "checkpoint 3", "evaluate 4 r8", "checkpoint 4", "grid 4",
        "phase p16 0/4", "checkpoint 7", "evaluate 8 r16 r8", "checkpoint 8", "grid 8",
        "finished",
    ]  # fmt: skip
    assert [(report.step, report.phase, report.phase_step) for report in seen.steps][3:5] == [
        (4, "p8", 4), (5, "p16", 1),
    ]  # fmt: skip
    assert list(seen.steps[-1].losses) == ["r16", "r8"]


def test_loss_falls(tmp_path: Path) -> None:
    overrides = ["phases.p16=null", "phases.p8={steps: 60, batch: 8}", "schedule.warmup=5", "every.checkpoint=0"]
    seen = Recorder()
    train(load_recipe("micro-test", overrides), tmp_path, observer=seen)
    losses = [report.losses["r8"] for report in seen.steps]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10]), losses


@pytest.mark.parametrize(
    "stops", [(1, 2, 1, 3), *(pytest.param(stops, marks=pytest.mark.slow) for stops in ((4,), (7,)))]
)
def test_interrupted_run_ends_in_the_same_bits(
    recipe: Recipe, straight: Path, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    for steps in stops:
        with pytest.raises(Interrupted):
            train(recipe, tmp_path, observer=JsonLog(), stop=after(steps))
    train(recipe, tmp_path, observer=JsonLog())
    for name in ("state.safetensors", "ema.safetensors"):
        assert (tmp_path / name).read_bytes() == (straight / name).read_bytes(), name
    assert steps_of(tmp_path) == steps_of(straight)


def steps_of(folder: Path) -> list[dict[str, object]]:
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [record for record in records if "loss" in record]


def test_finished_run_is_unchanged(recipe: Recipe, straight: Path) -> None:
    before = (straight / "state.safetensors").read_bytes()
    seen = Recorder()
    assert train(recipe, straight, observer=seen) == straight / "ema.safetensors"
    assert not seen.steps and seen.calls[-1] == "finished"
    assert (straight / "state.safetensors").read_bytes() == before


def test_another_recipe_is_refused(recipe: Recipe, straight: Path) -> None:
    changed = load_recipe("micro-test", [*SMALL, "optimizer.learning_rate=3e-3", "drop.classes=0.5"])
    with pytest.raises(CheckpointError, match=r"learning_rate \(0\.002, now 0\.003\), drop\.classes \("):
        train(changed, straight)
    train(load_recipe("micro-test", [*SMALL, "every.checkpoint=1"]), straight)


def test_changed_entry_is_refused(tmp_path: Path) -> None:
    spec = tmp_path / "net.yaml"
    spec.write_text("name: net\nextends: mdm-micro\n")
    recipe = load_recipe("micro-test", [*SMALL, f"entry={spec}"])
    with pytest.raises(Interrupted):
        train(recipe, tmp_path / "run", stop=after(1))
    spec.write_text("name: net\nextends: mdm-micro\nstages: {r16: {width: 24}}\n")
    with pytest.raises(CheckpointError, match="its spec changed"):
        train(recipe, tmp_path / "run")


def test_damaged_state_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(recipe, tmp_path, stop=after(1))
    path = tmp_path / "state.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"state\.safetensors: damaged"):
        train(recipe, tmp_path)


def test_two_runs_in_one_folder(recipe: Recipe, tmp_path: Path) -> None:
    class Second(Observer):
        def on_start(self, run: RunInfo) -> None:
            with pytest.raises(CheckpointError, match="another process is training here"):
                train(recipe, tmp_path)

    with pytest.raises(Interrupted):
        train(recipe, tmp_path, observer=Second(), stop=after(1))


def test_weights_are_a_checkpoint_of_the_entry(recipe: Recipe, straight: Path) -> None:
    model, facts = load_checkpoint(straight / "ema.safetensors", expected=load_entry("mdm-micro").graph)
    assert model.labels == ("r16", "r8")
    assert facts["data"] == "noto-emoji-64" and facts["phase"] == "p16"
    assert Recipe.model_validate_json(facts["recipe"]) == recipe
    state, _ = read_tensors(straight / "state.safetensors")
    assert all(torch.equal(state[f"ema/{name}"], value) for name, value in model.state_dict().items())


def test_outer_phase_starts_with_the_inner_predictions(recipe: Recipe) -> None:
    entry, processes = load_entry("mdm-micro").graph, Processes("cpu")
    inner = Phase(phase_settings(recipe, entry, "p8"), processes)
    for parameter in inner.model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    outer = Phase(phase_settings(recipe, entry, "p16"), processes)
    outer.initialize(inner)
    z, classes = [torch.randn(2, 3, 16, 16), torch.randn(2, 3, 8, 8)], torch.tensor([1, 4])
    with torch.no_grad():
        expected = inner.model(z[1:], 300, classes=classes)[0]
        assert torch.allclose(outer.model(z, 300, classes=classes)[1], expected, atol=1e-6)
        assert torch.equal(outer.ema.model.state_dict()["levels.r8.head.conv.bias"], torch.zeros(3))


def test_batch_depends_on_seed_phase_and_step_alone(recipe: Recipe, data: Images) -> None:
    entry, processes = load_entry("mdm-micro").graph, Processes("cpu")
    plan = Phase(phase_settings(recipe, entry, "p16"), processes).plan
    first = plan.draw(2, data)
    torch.manual_seed(123)
    Phase(phase_settings(recipe, entry, "p16"), processes).plan.draw(0, data)
    again = plan.draw(2, data)
    assert all(torch.equal(value, again.tensors()[name]) for name, value in first.tensors().items())
    other = plan.draw(3, data)
    assert not torch.equal(first.eps[0], other.eps[0]) and not torch.equal(first.t, other.t)
    assert [len(x) for x in first.images] == [len(x) for x in first.eps] == [2, 4]
    assert len(first.t) == len(first.classes) == len(first.keys) == 4
    assert torch.allclose(first.images[1][:2], torch.nn.functional.avg_pool2d(first.images[0], 2), atol=1e-6)


def test_classes_are_dropped_as_often_as_set(data: Images) -> None:
    recipe = load_recipe("micro-test", ["drop.classes=0.3", "phases.p8.batch=64"])
    phase = Phase(phase_settings(recipe, load_entry("mdm-micro").graph, "p8"), Processes("cpu"))
    classes = torch.cat([phase.plan.draw(step, data).classes for step in range(30)])
    assert 0.25 < (classes == 10).float().mean() < 0.35


def test_level_losses_are_means_over_their_own_rows() -> None:
    graph = load_entry("mdm-micro").graph
    process = DiffusionProcess(graph)
    images = [torch.randn(2, 3, 16, 16), torch.randn(5, 3, 8, 8)]
    eps, v = [torch.randn_like(x) for x in images], [torch.randn_like(x) for x in images]
    t = torch.tensor([0, 10, 500, 900, 999])
    for space, measure in (("v", v_loss), ("eps", eps_loss)):
        spec = LossSpec(space=space)
        losses = level_losses(v, images, eps, t, process, spec, snr_weights(process, "none"))
        for index, label in enumerate(("r16", "r8")):
            rows = len(images[index])
            each = measure(v[index], images[index], eps[index], process.schedules[index][t[:rows] + 1])
            assert losses[label].item() == pytest.approx(each.mean().item(), rel=1e-6)


def first_step(*changes: str, phase: str) -> tuple[Phase, Batch, StepResult]:
    """Take the first step of a phase; a fresh network predicts zeros."""
    settings = phase_settings(load_recipe("micro-test", [*SMALL, *changes]), load_entry("mdm-micro").graph, phase)
    started = Phase(settings, Processes("cpu"))
    batch = started.plan.draw(0, open_data("noto-emoji-64", settings.graph.resolution, "train"))
    return started, batch, started.step(0, batch)


@pytest.mark.parametrize("weighting", [vdm_weight, min_snr_weight, soft_min_snr_weight, sigmoid_weight])
def test_weightings_train(weighting: Callable[[torch.Tensor], torch.Tensor]) -> None:
    name = weighting.__name__.removesuffix("_weight")
    phase, batch, result = first_step(f"loss={{space: eps, weighting: {name}}}", "phases.p8.batch=16", phase="p8")
    (schedule,) = phase.process.schedules
    plain = eps_loss(torch.zeros_like(batch.eps[0]), batch.images[0], batch.eps[0], schedule[batch.t + 1])
    weighted = plain * weighting(schedule)[batch.t + 1]
    assert weighted.mean().item() != pytest.approx(plain.mean().item(), rel=0.01)
    assert result.updated and result.numbers.losses["r8"] == pytest.approx(weighted.mean().item(), rel=1e-5)


def test_weights_of_levels_scale_the_gradient() -> None:
    """They do not scale the reported losses, which stay comparable between runs."""
    plain, same, outer, none = (
        first_step(f"phases.p16.loss={{levels: {{r16: {r16}, r8: {r8}}}}}", phase="p16")[2]
        for r16, r8 in ((1, 1), (4, 4), (4, 1), (4, 0))
    )
    assert plain.numbers.losses == same.numbers.losses == outer.numbers.losses == none.numbers.losses
    assert same.numbers.gradient_norm == pytest.approx(4 * plain.numbers.gradient_norm, rel=1e-5)
    norms = {label: norm.item() for label, norm in plain.level_norms.items()}
    assert outer.level_norms["r16"].item() == pytest.approx(4 * norms["r16"], rel=1e-5)
    assert outer.level_norms["r8"].item() == pytest.approx(norms["r8"], rel=1e-5)
    assert none.level_norms["r8"].item() == 0


def test_validation_loss_is_the_same_in_every_call(straight: Path) -> None:
    model, _ = load_checkpoint(straight / "ema.safetensors")
    data = open_data("noto-emoji-64", 16, "val")
    process = DiffusionProcess(model.graph)
    first = validation_losses(model, process, data)
    torch.manual_seed(5)
    assert validation_losses(model, process, data) == first
    assert list(first) == ["r16", "r8"]


def test_global_random_state_is_left_alone(recipe: Recipe, tmp_path: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with pytest.raises(Interrupted):
        train(recipe, tmp_path, stop=after(1))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_and_the_same_command_resumes(straight: Path, tmp_path: Path, number: int) -> None:
    code, errors, run = interrupt(tmp_path, number, lines=1)
    assert code == 130, errors
    assert "To resume: zoo train micro-test --no-track --quiet --set phases.p8.steps=4" in errors
    assert "Traceback" not in errors
    assert len(steps_of(run)) < 8
    assert_resumes(straight, run)


@pytest.mark.slow
@pytest.mark.parametrize("lines", [1, 4, 5, 7])
def test_killed_run_resumes(straight: Path, tmp_path: Path, lines: int) -> None:
    _, _, run = interrupt(tmp_path, signal.SIGKILL, lines)
    assert_resumes(straight, run)


COMMAND = [sys.executable, "-c", "from zoo.cli import main; main()", "train", "micro-test", "--no-track", "--quiet"]
COMMAND += [word for change in SMALL for word in ("--set", change)]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def interrupt(folder: Path, number: int, lines: int) -> tuple[int, str, Path]:
    """Train in a process of its own, and send it a signal once its log has some lines."""
    process = subprocess.Popen(COMMAND, cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    log = folder / "runs" / "micro-test" / "log.jsonl"
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if log.is_file() and len(log.read_text().splitlines()) >= lines:
            break
        time.sleep(0.005)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors, log.parent


def assert_resumes(straight: Path, run: Path) -> None:
    """Check that the same command ends in the bits of an uninterrupted run."""
    folder = run.parent.parent
    again = subprocess.run(COMMAND, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
    for name in ("state.safetensors", "ema.safetensors"):
        assert (run / name).read_bytes() == (straight / name).read_bytes(), name
    assert steps_of(run) == steps_of(straight)
    assert not list(run.glob(".*.tmp"))
