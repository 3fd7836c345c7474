"""Plans of trainings: numbers of phases, what fits, and the changes with which it does."""

from __future__ import annotations

import pytest

from registry.costs.device import PlannedDevice
from registry.costs.planning import plan_recipe
from registry.costs.requirements import phase_memory
from registry.costs.steps import step_costs, times
from registry.costs.totals import count
from specs.recipe import load_recipe_and_graph
from tests.helpers.training_steps import measured_flops, measured_saved_bytes

MIXED = "phases.p16.batch={r16: 2, r8: 6}"


def device(memory=None, gpu=True, **peak):
    return PlannedDevice("test", "a test", memory, peak or {"float32": 1e12, "tf32": 2e12, "bfloat16": 4e12}, gpu)


def planned(*overrides, memory=None, of=None, **options):
    recipe, graph = load_recipe_and_graph("micro-test", overrides)
    return plan_recipe(recipe, graph, of or device(memory), **options)


def test_time_follows_from_flops_rate_and_efficiency():
    found = planned(MIXED, efficiency=0.5, price=3.0)
    first, last = found.phases
    _, graph = load_recipe_and_graph("micro-test")
    rows = {"r16": 2, "r8": 6}
    assert last.rows == rows and last.flops == step_costs(graph).flops(rows) and last.recomputed_flops == 0
    assert last.parameters == count(graph).total.parameters and first.parameters < last.parameters
    assert last.precision == "bfloat16" and last.seconds == pytest.approx(last.flops / (4e12 * 0.5))
    assert last.hours == pytest.approx(6 * last.seconds / 3600) and last.steps == 6
    assert found.hours == pytest.approx(first.hours + last.hours) == pytest.approx(found.device_hours)
    assert found.cost == pytest.approx(3 * found.hours)


def test_devices_share_the_rows():
    one, four = planned("phases.p16.batch=8"), planned("phases.p16.batch=8", count=4)
    assert four.phases[1].flops == one.phases[1].flops
    assert four.phases[1].seconds == pytest.approx(one.phases[1].seconds / 4)
    assert four.phases[1].rows_per_pass == {"r16": 2, "r8": 2}
    assert four.device_hours == pytest.approx(one.device_hours) and four.price is None is four.cost


def test_float32_is_computed_in_tf32_where_there_is_one():
    flops = planned("precision=float32").phases[1].flops
    assert planned("precision=float32").phases[1].seconds == pytest.approx(flops / (2e12 * 0.4))
    plain = planned("precision=float32", of=device(float32=1e12)).phases[1]
    assert plain.seconds == pytest.approx(flops / (1e12 * 0.4))
    assert planned(of=device(float32=1e12)).phases[1].precision == "float32"  # auto


@pytest.mark.parametrize(
    ("recipe", "changes", "expected"),
    [
        ("nano-hour", (), "bfloat16"),
        ("nano-long", (), "bfloat16"),
        ("nano-progressive", (), "float32"),  # most steps train 16 pixels
        ("nano-progressive", ("phases.p64.steps=1800",), "bfloat16"),
        ("nano-progressive", ("phases.p64.steps=1799",), "float32"),
    ],
)
def test_the_precision_on_a_processor_with_bfloat16(recipe, changes, expected):
    found, graph = load_recipe_and_graph(recipe, changes)
    assert {device(gpu=gpu).precision_of(found, graph) for gpu in (True, False)} == {"bfloat16", expected}
    assert device(gpu=False, float32=1e12).precision_of(found, graph) == "float32"


def test_precisions_that_a_device_lacks():
    old = device(float32=1e12, float16=8e12)
    assert planned(of=old).phases[0].precision == "float32"
    assert planned("precision=float16", of=old).phases[0].precision == "float16"
    with pytest.raises(ValueError, match=r"test has no bfloat16 \(float32, float16\); .*--set precision=auto"):
        planned("precision=bfloat16", of=old)
    with pytest.raises(ValueError, match="float16 needs a GPU"):
        planned("precision=float16", of=device(gpu=False))


def test_a_phase_in_hours_has_as_many_steps_as_they_allow():
    found = planned("phases.p16.hours=2", "phases.p16.steps=null").phases[1]
    assert found.hours == 2 and found.steps == round(7200 / found.seconds)
    unknown = planned("phases.p16.hours=2", "phases.p16.steps=null", of=PlannedDevice("test", "a test", None))
    assert unknown.phases[1].steps is None and unknown.phases[1].seconds is None and unknown.phases[0].hours is None
    assert unknown.hours is unknown.device_hours is unknown.cost is None and unknown.fits


@pytest.mark.parametrize(("changes", "message"), [({"count": 0}, "1 device"), ({"efficiency": 1.5}, "efficiency")])
def test_numbers_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        planned(**changes)


def peak(*overrides, half=True, processes=1):
    recipe, graph = load_recipe_and_graph("micro-test", ["phases.p16.batch=16", *overrides])
    return phase_memory(recipe, graph, "p16", half=half, gpu=True, processes=processes).peak


def changes(memory, *overrides, **options):
    return planned("phases.p16.batch=16", *overrides, memory=memory, **options)


def test_changes_in_their_order():
    """Passes of fewer rows; checkpointing; bfloat16; sharding."""
    assert changes(peak()).changes == () and changes(peak()).fits
    fewer = changes(peak() - 1)
    assert not fewer.fits and fewer.changes == ("--set phases.p16.memory.rows_per_pass=8",)
    assert planned("phases.p16.batch=16", fewer.changes[0].removeprefix("--set "), memory=peak() - 1).fits
    assert fewer.fitted.phases["p16"].memory.rows_per_pass == 8
    least = peak("phases.p16.memory.rows_per_pass=1")
    both = changes(least - 1)
    assert both.changes is not None and any("checkpoint=" in each for each in both.changes)
    assert planned("phases.p16.batch=16", *(each[6:].strip("'") for each in both.changes), memory=least - 1).fits


def test_bfloat16_is_used_where_nothing_else_helps():
    phases = ["phases.p64=null", "phases.p256=null", "phases.p1024.memory={rows_per_pass: 1, checkpoint: auto}"]
    recipe, graph = load_recipe_and_graph("paper-cc12m-1024", [*phases, "precision=float32"])
    full, half = (phase_memory(recipe, graph, "p1024", half=half, gpu=True).peak for half in (False, True))
    assert half < full
    found = plan_recipe(recipe, graph, device(half))
    assert found.changes == ("--set precision=bfloat16",) and found.fitted.precision == "bfloat16"
    assert plan_recipe(found.fitted, graph, device(half)).fits and plan_recipe(recipe, graph, device(full)).fits


def test_sharding_is_the_last_resort():
    least = ["phases.p16.memory={rows_per_pass: 1, checkpoint: auto, shard: true}", "phases.p8.batch=8"]
    size = peak(*least, processes=8)
    assert size < peak("phases.p16.memory={rows_per_pass: 1, checkpoint: auto}", processes=8)
    found = changes(size, "phases.p8.batch=8", count=8)
    assert found.changes is not None and "--set phases.p16.memory.shard=true" in found.changes
    assert changes(size, "phases.p8.batch=8").changes is None  # one device has nobody to share with
    assert changes(1000, count=8).changes is None and changes(1000).fitted.precision == "auto"


def test_auto_checkpointing_is_decided_for_the_device():
    setting = "phases.p16.memory.checkpoint=auto"
    assert changes(None, setting).phases[1].checkpoint == ("r16", "r8")
    assert changes(peak(), setting).phases[1].checkpoint == ()
    found = changes(peak() - 1, setting)
    assert found.fits and len(found.phases[1].checkpoint) == 1 and found.phases[1].recomputed_flops > 0


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["memory={checkpoint: [r16]}"],
        ["memory={rows_per_pass: 2}"],
        ["phases.p16.freeze=[r8]"],
        ["phases.p16.freeze=[r8]", "memory={checkpoint: auto, rows_per_pass: 3}"],
    ],
)
def test_memory_and_flops_are_measured(settings):
    """On this CPU: what autograd saves in a pass, weights, gradients and optimizer; FLOPs by torch's counter."""
    recipe, graph = load_recipe_and_graph("micro-test", [MIXED, *settings])
    found = plan_recipe(recipe, graph, device(gpu=False, float32=1e9)).phases[1]
    frozen = recipe.phases["p16"].freeze
    options = {"frozen": frozen, "checkpointed": found.checkpoint}
    saved = measured_saved_bytes(graph, found.rows_per_pass, **options)
    assert found.memory.activations - found.memory.recomputed == pytest.approx(saved, rel=0.01)
    passes = [{label: -(-number // found.passes) for label, number in found.rows.items()}]
    if all(number % found.passes == 0 for number in found.rows.values()):
        counted = found.passes * measured_flops(graph, passes[0], **options)
        assert found.flops + found.recomputed_flops == counted
    trained = sum(level.total.parameters for level in count(graph).levels if level.label not in frozen)
    assert found.memory.gradients == 4 * trained and found.memory.optimizer == 8 * trained


def test_a_plan_as_data_and_as_text():
    found = planned(MIXED, memory=10**9, price=1.0)
    data = found.as_dict()
    assert data["fits"] is True and data["changes"] == [] and data["device"]["name"] == "test"
    memory = data["phases"][1]["memory"]
    parts = ("weights", "ema", "gradients", "optimizer", "buckets", "copies", "activations", "buffers")
    assert sum(memory[part] for part in parts) == memory["total"] == found.phases[1].memory.total >= memory["peak"]
    assert repr(found) == "<Plan micro-test on 1 x test: fits, phases 2>"
    assert "<th>p16</th>" in found._repr_html_() and "peak per device" in found._repr_html_()


def test_images_of_the_batch_are_counted():
    found = planned(MIXED).phases[1]
    recipe, graph = load_recipe_and_graph("micro-test", [MIXED])
    costs = step_costs(graph, half=True, gpu=True)
    images = 2 * 4 * 3 * (2 * 16**2 + 6 * 8**2)
    assert found.memory.buffers == images + costs.workspace(found.rows_per_pass)
    assert found.memory.activations == times(costs.saved, found.rows_per_pass) and recipe.name == "micro-test"
