"""Trainings whose convolutions compute with channels last in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from builders.blocks.frames import as_rows
from builders.checkpoints.tensor_file import read_tensors
from builders.networks.memory_format import put_channels_last
from builders.networks.nested_unet import build_model
from builders.sampling.grid import Grid
from builders.training.distributed import Processes
from builders.training.engine.compiled import as_possible
from builders.training.errors import Interrupted, TrainingWarning
from builders.training.settings import phase_settings
from builders.training.starting.changes import rounding_changes
from specs.load import load_entry
from specs.recipe import load_recipe
from tests.helpers.clip_models import clip_model
from tests.helpers.networks import noise, randomise
from tests.helpers.recorded import recorded_losses

SHORT = [
    "phases.p16=null", "phases.p8.steps=4", "phases.p8.batch=4", "every={checkpoint: 0, evaluate: 0, samples: 0}",
    "validation={samples: 2, draws: 1, log_snr_draws: 0}",
]  # fmt: skip
LAST = [*SHORT, "channels_last=true"]


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builders.training.loop.draw_samples", lambda *_, **__: Grid(Image.new("RGB", (4, 4))))


def begun(folder: Path, changes: list[str]) -> None:
    """Train two steps of four."""
    calls = iter(range(1, 9))
    with pytest.raises(Interrupted):
        recorded_losses(folder, changes, stop=lambda: next(calls) == 2)


def test_losses_agree_and_a_resumed_run_is_exact(tmp_path: Path) -> None:
    plain, found = recorded_losses(tmp_path / "plain", SHORT), recorded_losses(tmp_path / "last", LAST)
    for one, other in zip(plain, found, strict=True):
        assert other == pytest.approx(one, rel=1e-5)
    begun(tmp_path / "resumed", LAST)
    # AdamW is fused and reads its moments in the order of memory.
    assert recorded_losses(tmp_path / "resumed", LAST) == found[2:]
    states = [read_tensors(tmp_path / name / "state.safetensors")[0] for name in ("last", "resumed")]
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_run_may_be_resumed_with_another_layout(tmp_path: Path) -> None:
    begun(tmp_path, SHORT)
    with pytest.warns(TrainingWarning) as caught:
        recorded_losses(tmp_path, LAST)
    assert [str(each.message) for each in caught] == [
        f"{tmp_path}: resumed with channels_last (False, now True); its results are those of an uninterrupted run up "
        "to rounding only; training continues"
    ]
    recorded_losses(tmp_path, SHORT)  # it is finished: nothing to warn of


def test_changes_by_rounding() -> None:
    plain, changed = load_recipe("micro-test"), load_recipe("micro-test", ["compile=true", "channels_last=true"])
    assert rounding_changes(plain.model_dump_json(), plain) == ""
    assert rounding_changes(changed.model_dump_json(), changed) == ""
    found = rounding_changes(changed.model_dump_json(), plain)
    assert found == "channels_last (True, now False), compile (True, now False)"


@pytest.mark.parametrize("clips", [False, True])
def test_layers_pass_the_layout_on(clips: bool) -> None:
    model = clip_model() if clips else randomise(build_model(load_entry("mdm-micro").graph))
    z = noise(model.graph, 2)
    wanted, names = model(z, [10, 500]), list(model.state_dict())
    put_channels_last(model)
    seen = {}
    level = model.levels[model.labels[0]]
    for name, module in level.named_modules():
        if isinstance(module, torch.nn.Conv2d) and module.out_channels > 3 and module.kernel_size == (3, 3):
            module.register_forward_hook(lambda _, __, out, name=name: seen.__setitem__(name, as_rows(out)))
    found = model(z, [10, 500])
    assert list(model.state_dict()) == names and len(seen) > 2
    assert all(each.is_contiguous(memory_format=torch.channels_last) for each in seen.values())
    for one, other in zip(wanted, found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4)


def test_a_divided_network_is_neither_laid_out_nor_compiled() -> None:
    recipe = load_recipe("micro-test", ["compile=true", "channels_last=true"])
    phases = [phase_settings(recipe, load_entry("mdm-micro").graph, name) for name in recipe.phases]
    processes = Processes("cpu")
    processes.sharded = True
    with pytest.warns(TrainingWarning) as caught:
        found = as_possible(phases, processes)
    assert [str(each.message) for each in caught] == [
        f"{key}: true has no effect: the network is divided among processes; training continues"
        for key in ("compile", "channels_last")
    ]
    assert not any(phase.compile or phase.channels_last for phase in found) and len(found) == len(phases)
    processes.main = False
    assert as_possible(phases, processes) == found  # one process warns for all


@pytest.mark.parametrize("reasons", [["no compiler", None], [None, "no compiler"]])
def test_no_process_compiles_unless_all_can(monkeypatch, reasons: list[str | None]) -> None:
    recipe = load_recipe("micro-test", ["compile=true"])
    phases = [phase_settings(recipe, load_entry("mdm-micro").graph, name) for name in recipe.phases]
    processes = Processes("cpu")
    monkeypatch.setattr("builders.training.engine.compiled.compiler_problem", lambda device: reasons[0])
    monkeypatch.setattr(processes, "gather", lambda value: [value, reasons[1]])
    message = r"^compile: true has no effect: torch.compile does not work here \(no compiler\); training continues$"
    with pytest.warns(TrainingWarning, match=message):
        found = as_possible(phases, processes)
    assert not any(phase.compile for phase in found)
