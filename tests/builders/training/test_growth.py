"""How networks grow: what a phase starts from, what it carries over, freezes and leaves without a loss."""

from __future__ import annotations

import dataclasses
import json
import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from builders.checkpoints.tensor_file import read_tensors
from builders.checkpoints.weights import load_checkpoint
from builders.data.open import open_data
from builders.diffusion.process import DiffusionProcess, pyramid
from builders.networks.nested_unet import build_model
from builders.networks.parameters import load_inner
from builders.training.distributed import Processes
from builders.training.errors import TrainingError
from builders.training.initialize import load_shared, weights_file
from builders.training.json_log import JsonLog
from builders.training.loop import Interrupted
from builders.training.observers import Observer, Observers, StepReport
from builders.training.phase import Phase
from builders.training.settings import phase_settings
from builders.training.start import train
from specs.load import load_entry
from specs.recipe import Recipe, load_recipe

pytestmark = pytest.mark.usefixtures("light_measures")

SMALL = [
    "phases.p8.steps=4", "phases.p8.batch=4", "phases.p16.steps=3", "phases.p16.batch={r16: 2, r8: 4}",
    "every={checkpoint: 2, evaluate: 0, samples: 0}",
]  # fmt: skip


class Steps(Observer):
    def __init__(self) -> None:
        self.steps: list[StepReport] = []

    def on_step(self, report: StepReport) -> None:
        self.steps.append(report)


def randomise(model: torch.nn.Module, seed: int = 0) -> None:
    """Set random weights: fresh networks predict zeros, which would prove nothing."""
    torch.manual_seed(seed)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)


def recipe_with(*changes: str) -> Recipe:
    return load_recipe("micro-test", [*SMALL, *changes])


def phases(recipe: Recipe) -> tuple[Phase, Phase]:
    """Return both phases of a recipe, the inner one with random weights and after an optimizer step."""
    entry, processes = load_entry(recipe.entry).graph, Processes("cpu")
    inner = Phase(phase_settings(recipe, entry, "p8"), processes)
    randomise(inner.model)
    randomise(inner.ema.model, seed=1)
    for parameter in inner.model.parameters():
        parameter.grad = torch.randn_like(parameter)
    inner.optimizer.step()
    return inner, Phase(phase_settings(recipe, entry, "p16"), processes)


@pytest.mark.parametrize("entry", ["mdm-micro", "mdm-nano"])
def test_inner_predictions_are_unchanged_at_every_phase(entry: str) -> None:
    """With random weights, each level's prediction inside the next is what it was alone.

    If the level that becomes nested also nests, it starts to divide its input by its deviation. The entry turns that
    off, so that its own computation is the same inside and alone.
    """
    changes = [] if entry == "mdm-micro" else ["nest.normalize_input=false"]
    graph = load_entry(entry, overrides=changes).graph
    for outer_label, inner_label in pairwise(graph.labels):
        inner = build_model(graph.inner(inner_label)).eval()
        randomise(inner)
        outer = build_model(graph.inner(outer_label)).eval()
        load_inner(outer, inner.state_dict())
        sides = [level.resolution for level in outer.graph.levels]
        z, t = [torch.randn(3, 3, side, side) for side in sides], torch.tensor([5, 400, 999])
        classes = torch.tensor([0, 7, 10])
        with torch.no_grad():
            alone, inside = inner(z[1:], t, classes=classes), outer(z, t, classes=classes)
        assert min(float(each.std()) for each in alone) > 1e-3
        for expected, found in zip(alone, inside[1:], strict=True):
            assert (expected - found).abs().max() <= 1e-6


def test_phase_starts_from_the_one_before() -> None:
    inner, outer = phases(recipe_with())
    outer.initialize(inner)
    for mine, theirs in ((outer.model, inner.model), (outer.ema.model, inner.ema.model)):
        own = mine.state_dict()
        assert all(torch.equal(own[name], value) for name, value in theirs.state_dict().items())
    assert not outer.optimizer.state


def test_average_and_optimizer_are_carried_where_asked() -> None:
    inner, outer = phases(recipe_with("carry={optimizer: true, ema: false}"))
    outer.initialize(inner)
    weights = outer.model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in outer.ema.model.state_dict().items())
    names = dict(outer.trained)
    for name, parameter in inner.trained:
        theirs, mine = inner.optimizer.state[parameter], outer.optimizer.state[names[name]]
        assert all(torch.equal(mine[key], value) for key, value in theirs.items()) and len(mine) == 3
    assert len(outer.optimizer.state) == len(inner.trained) < len(outer.trained)


def test_a_carried_average_stays_slow_and_a_new_one_starts_fast() -> None:
    """An EMA forgets fast while it is young; an average that is carried over keeps its age."""
    inner, outer = phases(recipe_with("ema=0.999"))
    inner.progress = dataclasses.replace(inner.progress, step=990)
    outer.initialize(inner)
    assert outer.ema.ages == {"r16": 0, "r8": 990}
    with torch.no_grad():
        for each, value in ((outer.model, 1.0), (outer.ema.model, 0.0)):
            for parameter in each.parameters():
                parameter.fill_(value)
    outer.ema.update(0)
    found = {name: float(value.mean()) for name, value in outer.ema.model.named_parameters()}
    for name, value in found.items():
        wanted = 1 - 1 / 10 if name.startswith("levels.r16") else 1 - 991 / 1000
        assert value == pytest.approx(wanted, rel=1e-4), name
    assert outer.ema.ages_after(7) == {"r16": 7, "r8": 997}
    assert json.loads(outer.tensors()[1]["ema_ages"]) == {"r16": 0, "r8": 990}
    plain, other = phases(recipe_with("ema=0.999", "carry.ema=false"))
    other.initialize(plain)
    assert other.ema.ages == {"r16": 0, "r8": 0}


def test_fresh_phase_takes_nothing() -> None:
    recipe = recipe_with("phases.p16.initialise=fresh")
    inner, outer = phases(recipe)
    before = {name: value.clone() for name, value in outer.model.state_dict().items()}
    outer.initialize(inner)
    assert all(torch.equal(before[name], value) for name, value in outer.model.state_dict().items())


@pytest.mark.slow
def test_whole_recipe_starts_from_a_weights_file(tmp_path: Path) -> None:
    """Weights of the inner entry, of the entry itself and of one around it all provide the levels they share."""
    train(recipe_with(), tmp_path / "first")
    weights, _ = load_checkpoint(tmp_path / "first" / "ema.safetensors")
    recipe = recipe_with(f"initialise={tmp_path}/first/ema.safetensors")
    model = Phase(phase_settings(recipe, load_entry("mdm-micro").graph, "p8"), Processes("cpu"))
    model.initialize(None)
    state = weights.state_dict()
    assert all(torch.equal(state[name], value) for name, value in model.model.state_dict().items())
    assert all(torch.equal(state[name], value) for name, value in model.ema.model.state_dict().items())
    seen = Steps()
    train(recipe, tmp_path / "second", observer=seen)
    assert len(seen.steps) == 7


def test_shared_levels_of_an_entry_with_weights() -> None:
    model = build_model(load_entry("mdm-nano").graph)
    assert load_shared(model, weights_file("mdm-nano")) == ("r64", "r32", "r16")
    inner = build_model(load_entry("mdm-nano").graph.inner("r16"))
    assert load_shared(inner, weights_file("mdm-nano")) == ("r16",)
    assert torch.equal(inner.state_dict()["levels.r16.stem.weight"], model.state_dict()["levels.r16.stem.weight"])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("mdm-nanu", "the package has no weights of an entry 'mdm-nanu'; did you mean 'mdm-nano'"),
        ("no/such/file.safetensors", "no such weights file"),
        ("mdm-nano", r"has no level in common with mdm-micro \(r8\)"),
    ],
)
def test_initial_weights_that_do_not_fit(source: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=message):
        train(recipe_with(f"initialise={source}"), tmp_path)


def test_frozen_level_stays_and_the_rest_moves(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        count = iter(range(10))
        train(recipe_with("phases.p16.freeze=[r8]"), tmp_path, stop=lambda: next(count) == 3)
    before, _ = read_tensors(tmp_path / "state.safetensors")
    train(recipe_with("phases.p16.freeze=[r8]"), tmp_path)
    after, _ = read_tensors(tmp_path / "state.safetensors")
    inner = [name.partition("/")[2] for name in before if name.startswith("model/")]
    assert any(name.startswith("inputs.") for name in inner)
    # Its published weights, the EMA, which the other levels train against.
    for kind in ("model", "ema"):
        assert all(torch.equal(before[f"ema/{name}"], after[f"{kind}/{name}"]) for name in inner)
    assert any(not torch.equal(before[f"ema/{name}"], before[f"model/{name}"]) for name in inner)
    fresh = build_model(load_entry("mdm-micro").graph).state_dict()
    assert any(not torch.equal(after[f"model/{name}"], fresh[name]) for name in fresh if name.startswith("levels.r16"))
    assert not [name for name in after if name.startswith("optimizer/") and "levels.r8" in name]


@pytest.mark.parametrize("weight", ["0", pytest.param("null", marks=pytest.mark.slow)])
def test_level_without_a_loss_is_measured_and_its_head_stays(weight: str, tmp_path: Path) -> None:
    seen = Steps()
    train(recipe_with(f"phases.p16.loss={{levels: {{r8: {weight}}}}}"), tmp_path, observer=seen)
    assert set(seen.steps[-1].losses) == {"r16", "r8"} and seen.steps[-1].losses["r8"] > 0
    tensors, _ = read_tensors(tmp_path / "state.safetensors")
    # Its head has no gradient, so the optimizer does not even decay it; what feeds the outer level moves.
    assert not [name for name in tensors if name.startswith("optimizer/") and "r8.head" in name]
    assert [name for name in tensors if name.startswith("optimizer/exp_avg/levels.r8")]


@pytest.mark.slow
def test_phase_limited_by_hours_keeps_to_its_budget(tmp_path: Path) -> None:
    """A phase that is stopped halfway has the rest of its time left, and later phases start after its steps."""
    hours = 3.0 / 3600
    recipe = recipe_with(f"phases.p8.hours={hours}", "schedule={warmup: 0, decay: cosine}", "every.checkpoint=0")
    started, limit = time.monotonic(), 1.2
    with pytest.raises(Interrupted):
        train(recipe, tmp_path, observer=JsonLog(), stop=lambda: time.monotonic() - started > limit)
    standing = json.loads(read_tensors(tmp_path / "state.safetensors")[1]["standing"])
    assert standing["phase"] == "p8" and 0 < standing["seconds"] < 3
    seen = Steps()
    train(recipe, tmp_path, observer=Observers([JsonLog(), seen]))
    after = json.loads(read_tensors(tmp_path / "state.safetensors")[1]["standing"])
    first = [report for report in seen.steps if report.phase == "p8"]
    assert sum(report.seconds for report in first) < 3.5 - standing["seconds"] and first
    assert after["steps_before"] == first[-1].step and after["samples_before"] == 4 * first[-1].step
    assert first[0].learning_rate > first[-1].learning_rate < 0.1 * 2e-3
    steps = [json.loads(line).get("step") for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert max(step for step in steps if step) == first[-1].step + 3


def test_precision(tmp_path: Path) -> None:
    whole, half = Steps(), Steps()
    train(recipe_with("precision=float32", "phases.p16=null"), tmp_path / "whole", observer=whole)
    train(recipe_with("precision=bfloat16", "phases.p16=null"), tmp_path / "half", observer=half)
    pairs = [(a.losses["r8"], b.losses["r8"]) for a, b in zip(whole.steps, half.steps, strict=True)]
    assert all(a == pytest.approx(b, rel=0.02) for a, b in pairs) and any(a != b for a, b in pairs)
    tensors, _ = read_tensors(tmp_path / "half" / "state.safetensors")
    assert all(value.dtype == torch.float32 for name, value in tensors.items() if name.startswith("model/"))
    with pytest.raises(TrainingError, match="precision float16 needs a GPU, not cpu"):
        train(recipe_with("precision=float16"), tmp_path / "none")


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in ("sgd", "lion", "timm:adamw")])
def test_optimizers_train_and_resume(name: str, tmp_path: Path) -> None:
    recipe = recipe_with(f"optimizer={{name: {name}, learning_rate: 1e-3}}")
    train(recipe, tmp_path / "straight")
    with pytest.raises(Interrupted):
        count = iter(range(10))
        train(recipe, tmp_path / "parts", stop=lambda: next(count) == 1)
    train(recipe, tmp_path / "parts")
    one, two = (tmp_path / folder / "state.safetensors" for folder in ("straight", "parts"))
    assert one.read_bytes() == two.read_bytes()


def test_images_are_mirrored_where_asked() -> None:
    graph = load_entry("mdm-micro").graph
    data = open_data("noto-emoji-64", 8)
    plain = Phase(phase_settings(recipe_with(), graph, "p8"), Processes("cpu")).plan.draw(0, data).images[0]
    mirrored = (
        Phase(phase_settings(recipe_with("flip=true"), graph, "p8"), Processes("cpu")).plan.draw(0, data).images[0]
    )
    same = [torch.equal(a, b) for a, b in zip(plain, mirrored, strict=True)]
    turned = [torch.equal(a.flip(-1), b) for a, b in zip(plain, mirrored, strict=True)]
    assert all(a or b for a, b in zip(same, turned, strict=True)) and not all(same)


def test_inner_predictions_of_trained_weights_are_unchanged() -> None:
    """As above, with the trained weights in the package."""
    trained, _ = load_checkpoint(weights_file("mdm-nano"))
    images = open_data("noto-emoji-64", 64).batch(0, 3)["image"]
    for changes in ([], ["nest.normalize_input=false"], ["nest.normalize_input=true"]):
        graph = load_entry("mdm-nano", overrides=changes).graph
        # With normalize_input set, each level can be built alone; with "auto", only the innermost.
        for outer_label, inner_label in list(pairwise(graph.labels))[0 if changes else 1 :]:
            inner, outer = (build_model(graph.inner(label)).eval() for label in (inner_label, outer_label))
            state = trained.state_dict()
            load_inner(inner, {name: state[name] for name in inner.state_dict()})
            load_inner(outer, inner.state_dict())
            t, classes = torch.tensor([5, 400, 999]), torch.tensor([0, 7, 10])
            clean = pyramid(images, outer.graph)
            z = DiffusionProcess(outer.graph).add_noise(clean, [torch.randn_like(x) for x in clean], t)
            with torch.no_grad():
                alone, inside = inner(z[1:], t, classes=classes), outer(z, t, classes=classes)
            assert min(float(each.std()) for each in alone) > 0.1
            for expected, found in zip(alone, inside[1:], strict=True):
                assert (expected - found).abs().max() <= 1e-6
