"""Passes and checkpointing: the same training with less memory."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
import torch

from builders.checkpoints.tensor_file import read_tensors
from builders.training.batches import joined, make_batch
from builders.training.distributed import Processes
from builders.training.errors import Interrupted
from builders.training.json_log import JsonLog
from builders.training.phase import Phase
from builders.training.settings import phase_settings
from builders.training.start import train
from specs.recipe import load_recipe, load_recipe_and_graph
from tests.builders.training.test_processes import assert_close, launch, records
from tests.helpers.clip_runs import write_recipe
from tests.helpers.networks import randomise

pytestmark = pytest.mark.usefixtures("light_measures")

SGD = ["optimizer={name: sgd, learning_rate: 0.05}", "ema=0.9", "clip=100"]
MIXED = {"p16": "{r16: 3, r8: 8}", "p16v": "{r16f4: 2, r8f4: 3, r8: 8}"}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of clips and images, with its entry and data."""
    return write_recipe(tmp_path_factory.mktemp("mixed"))


def trained(recipe: str | Path, name: str, batch: str, memory: str, steps: int = 10):
    """Weights after some steps on made-up batches, and what the last step returned."""
    changes = [*SGD, f"phases.{name}.batch={batch}", f"memory={memory}"]
    recipe, graph = load_recipe_and_graph(recipe, changes)
    settings = phase_settings(recipe, graph, name)
    phase = Phase(settings, Processes("cpu", "float32"))
    randomise(phase.model)
    rows, result = settings.rows, None
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        first = settings.kinds.clips or rows[-1]
        drawn = {"image": torch.randn(first, 3, *settings.graph.levels[0].size.shape, generator=generator)}
        if settings.kinds.clips:
            side = settings.graph.levels[-1].resolution
            drawn["still"] = torch.randn(rows[-1] - first, 3, side, side, generator=generator)
        drawn |= {"classes": torch.arange(rows[-1]) % 2, "key": [str(row) for row in range(rows[-1])]}
        t = torch.randint(0, 1000, (rows[-1],), generator=generator)
        result = phase.step(step, make_batch(settings.graph, drawn, t, generator, rows))
    assert result is not None and result.updated
    return phase.model.state_dict(), result, phase.passes


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "steps"), [pytest.param("p16", 10, marks=SLOW), ("p16v", 3), pytest.param("p16v", 10, marks=SLOW)]
)
def test_passes_give_the_weights_of_one(path: Path, name: str, steps: int) -> None:
    recipe = path if name == "p16v" else "micro-test"
    wanted, whole, _ = trained(recipe, name, MIXED[name], "{}", steps)
    for rows, passes in ((4, 2), (2, 4)):  # in four passes, one has no row of the outermost level
        weights, result, found = trained(recipe, name, MIXED[name], f"{{rows_per_pass: {rows}}}", steps)
        assert found == passes
        for key, value in wanted.items():
            torch.testing.assert_close(weights[key], value, rtol=1e-6, atol=1e-6, msg=key)
        assert torch.equal(result.t, whole.t) and result.numbers.losses == pytest.approx(whole.numbers.losses, rel=1e-4)
        for label, each in whole.row_losses.items():
            torch.testing.assert_close(result.row_losses[label], each, rtol=1e-4, atol=1e-4)
        assert list(result.level_norms) == list(whole.level_norms)


def test_checkpointing_gives_the_weights_to_the_bit(path: Path) -> None:
    wanted, whole, _ = trained(path, "p16v", MIXED["p16v"], "{}", steps=2)
    for memory in ("{checkpoint: [r16f4]}", "{checkpoint: auto}"):
        weights, result, _ = trained(path, "p16v", MIXED["p16v"], memory, steps=2)
        assert all(torch.equal(weights[key], value) for key, value in wanted.items())
        assert result.numbers == whole.numbers


def test_rows_keep_their_order() -> None:
    rows = torch.arange(7)
    assert torch.equal(joined([rows[index::3] for index in range(3)]), rows)


def test_a_run_is_stopped_and_resumed_with_other_settings(path: Path, tmp_path: Path) -> None:
    changes = ["memory={rows_per_pass: 2}", "phases.p8=null", "phases.p8v.steps=3", "phases.p16v.steps=1"]
    recipe = load_recipe(path, changes)
    train(recipe, tmp_path / "straight", observer=JsonLog())
    count = iter(range(100))
    with pytest.raises(Interrupted):
        train(recipe, tmp_path / "stopped", observer=JsonLog(), stop=lambda: next(count) == 1)
    more = load_recipe(path, [*changes, "memory.checkpoint=[r16f4, r8f4]", "phases.p8v.memory={checkpoint: auto}"])
    train(more, tmp_path / "stopped", observer=JsonLog())
    for name in ("state.safetensors", "ema.safetensors"):
        one, two = (read_tensors(tmp_path / run / name)[0] for run in ("straight", "stopped"))
        assert set(one) == set(two) and all(one[key].equal(two[key]) for key in one)
    written = json.loads((tmp_path / "stopped" / "recipe.json").read_text())
    assert written["memory"] == {"checkpoint": ["r16f4", "r8f4"], "rows_per_pass": 2, "shard": False}
    assert written["phases"]["p8v"]["memory"]["checkpoint"] == "auto" and "memory" not in written["phases"]["p16v"]


@pytest.mark.slow
def test_two_processes_in_passes_give_the_losses_of_one(tmp_path: Path) -> None:
    changes = ["phases.p8.steps=2", "phases.p8.batch=6", "phases.p16.steps=3", "phases.p16.batch={r16: 3, r8: 7}"]
    changes += ["every={checkpoint: 3, evaluate: 0, samples: 0, monitor: 2}"]
    memory = [*changes, "memory={rows_per_pass: 2, checkpoint: [r16]}"]
    (tmp_path / "one").mkdir()
    with contextlib.chdir(tmp_path):
        train(load_recipe("micro-test", changes), tmp_path / "one", observer=JsonLog())
    done = launch({str(tmp_path / "two"): memory}, 2, tmp_path)
    assert done.returncode == 0, done.stderr
    for key in ("loss", "monitor"):
        one, two = records(tmp_path / "one", key), records(tmp_path / "two", key)
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            assert_close(a[key], b[key])
