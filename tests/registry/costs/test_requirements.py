"""What trainings and samples take at least, and what a machine cannot hold."""

from __future__ import annotations

import re

import pytest
import torch

from builders.networks.nested_unet import build_model
from registry.costs import machine
from registry.costs.machine import MemoryRefusal, check_sampling, check_training, memory_of
from registry.costs.memory import activation_memory
from registry.costs.requirements import fitted_memory, phase_memory, sampling_bytes, with_memory
from registry.costs.totals import count
from specs.load import load_entry
from specs.recipe import load_recipe, load_recipe_and_graph
from tests.helpers.clip_runs import ENTRY


def test_the_state_of_a_phase_is_what_training_allocates():
    recipe, graph = load_recipe("micro-test"), load_entry("mdm-micro").graph
    parameters = sum(value.numel() for value in build_model(graph, "meta").parameters())
    found = phase_memory(recipe, graph, "p16")
    assert found.state == 4 * 5 * parameters
    for name, copies in (("sgd", 0), ("lion", 1), ("adamax", 2), ("adan", 4)):
        other = recipe.model_copy(update={"optimizer": recipe.optimizer.model_copy(update={"name": name})})
        assert phase_memory(other, graph, "p16").state == 4 * (3 + copies) * parameters


def test_each_length_takes_the_memory_of_an_average():
    graph = load_entry("mdm-micro").graph
    plain, three = (
        phase_memory(load_recipe("micro-test", changes), graph, "p16")
        for changes in ([], ["averages.lengths=[0.03, 0.1, 0.2]"])
    )
    assert three.ema == 4 * plain.ema and three.peak - plain.peak == 3 * plain.ema


def test_activations_grow_with_the_rows_of_each_level():
    recipe, graph = load_recipe("micro-test", ["phases.p16.batch={r16: 2, r8: 6}"]), load_entry("mdm-micro").graph
    _, levels = activation_memory(graph)
    found = phase_memory(recipe, graph, "p16")
    # With the errors of the predictions, which a card leaves out.
    errors = 4 * 3 * (2 * 16**2 + 6 * 8**2)
    assert found.activations == 2 * levels["r16"].training + 6 * levels["r8"].training + errors and found.rows == 6
    assert phase_memory(recipe, graph, "p16", processes=2).activations == found.activations // 2
    half = phase_memory(recipe, graph, "p16", half=True)
    assert half.activations == pytest.approx(found.activations / 2, rel=0.1) and half.copies > 0 == found.copies
    gpu = phase_memory(recipe, graph, "p16", half=True, gpu=True)  # norms stay in float32
    assert 0.65 * found.activations < gpu.activations < 0.9 * found.activations and gpu.copies == half.copies
    frozen = load_recipe("micro-test", ["phases.p16.batch={r16: 2, r8: 6}", "phases.p16.freeze=[r8]"])
    # Gradients of the outer level pass through the frozen one.
    assert 2 * levels["r16"].training < phase_memory(frozen, graph, "p16").activations < found.activations
    assert phase_memory(frozen, graph, "p16").gradients < found.gradients
    assert found.rows_within(found.peak) == 6 and found.rows_within(found.peak - 1) == 5
    assert found.rows_within(found.state) == found.rows_within(0) == 0


def test_parts_that_are_not_there_at_once():
    graph = load_entry("mdm-micro").graph
    whole, split = (load_recipe("micro-test", ["phases.p16.batch=8", f"memory={{rows_per_pass: {n}}}"]) for n in (8, 2))
    one, more = phase_memory(whole, graph, "p16"), phase_memory(split, graph, "p16")
    assert one.passes == 1 and one.peak == one.total - one.gradients
    # From the second pass on, the gradients of the first one are there.
    assert more.passes == 4 and more.peak == more.total
    parts = one.weights + one.ema + one.gradients + one.optimizer + one.copies + one.activations + one.buffers
    assert one.total == parts and one.buckets == 0
    two = phase_memory(whole, graph, "p16", processes=2)
    assert two.buckets == two.gradients == one.gradients


def test_sharding_divides_the_state():
    graph = load_entry("mdm-micro").graph
    recipe = load_recipe("micro-test", ["phases.p16.batch=8"])
    plain = phase_memory(recipe, graph, "p16", processes=4)
    shared = phase_memory(with_memory(recipe, "p16", shard=True), graph, "p16", processes=4)
    largest = 4 * max(part.costs.parameters for level in count(graph).levels for part in level.parts)
    assert 4 * shared.ema == pytest.approx(plain.ema, abs=16) and shared.buckets == 0
    assert 4 * shared.optimizer == pytest.approx(plain.optimizer, abs=16)
    assert shared.weights - largest == shared.ema and shared.gradients == shared.weights
    assert shared.activations == plain.activations
    assert phase_memory(with_memory(recipe, "p16", shard=True), graph, "p16") == phase_memory(recipe, graph, "p16")


def test_passes_and_checkpointing_need_less():
    graph = load_entry("mdm-micro").graph
    whole, levels = activation_memory(graph)

    def found(memory, **options):
        recipe = load_recipe("micro-test", ["phases.p16.batch={r16: 2, r8: 6}", f"memory={memory}"])
        return phase_memory(recipe, graph, "p16", **options).activations

    errors = {label: 4 * 3 * side**2 for label, side in (("r16", 16), ("r8", 8))}
    pass_ = levels["r16"].training + 2 * levels["r8"].training + errors["r16"] + 2 * errors["r8"]
    assert found("{rows_per_pass: 2}") == found("{rows_per_pass: 2}", processes=2) == pass_
    saved = {label: each.checkpointed - each.largest + errors[label] for label, each in levels.items()}
    one = 2 * (saved["r16"] + levels["r16"].largest) + 6 * (levels["r8"].training + errors["r8"])
    assert found("{checkpoint: [r16]}") == pytest.approx(one, rel=0.02)
    both = 2 * saved["r16"] + 6 * saved["r8"] + max(2 * levels["r16"].largest, 6 * levels["r8"].largest)
    assert found("{checkpoint: auto}") == found("{checkpoint: [r16, r8]}") == pytest.approx(both, rel=0.02)
    assert whole.checkpointed < whole.training


def test_auto_checkpoints_as_few_levels_as_fit():
    graph = load_entry("mdm-micro").graph
    recipe = load_recipe("micro-test", ["phases.p16.batch=4", "phases.p16.memory={checkpoint: auto, rows_per_pass: 3}"])
    largest = max(graph.labels, key=lambda label: activation_memory(graph)[1][label].training)

    def chosen(size):
        return fitted_memory(recipe, graph, size).phases["p16"].memory

    def needed(labels):
        return phase_memory(with_memory(recipe, "p16", checkpoint=labels), graph, "p16").peak

    assert chosen(needed(())).checkpoint == () and chosen(needed(())).rows_per_pass == 3
    assert chosen(needed(()) - 1).checkpoint == chosen(needed((largest,))).checkpoint == (largest,)
    assert set(chosen(needed((largest,)) - 1).checkpoint) == set(chosen(None).checkpoint) == {"r16", "r8"}
    assert fitted_memory(recipe, graph, 0).phases["p8"].memory is None


def test_what_does_not_fit_is_refused_with_the_estimate_and_advice(monkeypatch):
    recipe, graph = load_recipe("micro-test", ["phases.p16.batch=8"]), load_entry("mdm-micro").graph
    needed = phase_memory(recipe, graph, "p16")
    monkeypatch.setattr(machine, "memory_of", lambda device: needed.peak)
    check_training(recipe, graph, "cpu")
    monkeypatch.setattr(machine, "memory_of", lambda device: needed.peak - 1)
    message = (
        r"mdm-micro, phase p16: training takes at least .* MiB \(.* for weights, EMA, gradients and optimizer, .* for "
        r"activations of 8 rows\), but this machine has .*\. Use a smaller batch: --set phases\.p16\.batch=7, "
        r"or for the same batch --set phases\.p16\.memory\.rows_per_pass=4; to try anyway, set ZOO_MEMORY_CHECK=0, "
        r"or add --no-memory-check"
    )
    with pytest.raises(MemoryRefusal, match=message):
        check_training(recipe, graph, "cpu")
    monkeypatch.setattr(machine, "memory_of", lambda device: 1000)
    settings = "phases.p16.memory={rows_per_pass: 1, checkpoint: auto}"
    least = load_recipe("micro-test", ["phases.p16.batch=8", settings])
    least = phase_memory(least, graph, "p16").peak
    monkeypatch.setattr(machine, "memory_of", lambda device: least)
    both = "for the same batch --set phases.p16.memory.checkpoint=auto --set phases.p16.memory.rows_per_pass=1;"
    with pytest.raises(MemoryRefusal, match=re.escape(both)):
        check_training(recipe, graph, "cpu")
    check_training(load_recipe("micro-test", re.findall(r"--set (\S+[^;\s])", both)), graph, "cpu")
    one = load_recipe("micro-test", ["phases.p16.batch=3", "phases.p16.memory={rows_per_pass: 1, checkpoint: auto}"])
    monkeypatch.setattr(machine, "memory_of", lambda device: 1000)
    with pytest.raises(MemoryRefusal, match="Use a smaller entry or a machine with more memory"):
        check_training(one, graph, "cpu")
    with pytest.raises(MemoryRefusal, match="Use a smaller entry or a machine with more memory"):
        check_training(recipe, graph, "cpu")
    with pytest.raises(MemoryRefusal, match=r"mdm-micro: sampling takes at least .*, but the device cuda:0 has 1000 B"):
        check_sampling(graph, "cuda:0", rows=4)
    monkeypatch.setattr(machine, "memory_of", lambda device: None)
    check_training(recipe, graph, "cpu")
    check_sampling(graph, "cpu")


def test_frames_of_clips_are_counted(monkeypatch, tmp_path):
    (tmp_path / "micro-v.yaml").write_text(ENTRY)
    (tmp_path / "r.yaml").write_text(
        "name: r\nentry: ./micro-v.yaml\ndata: clips\nphases:\n"
        "  a: {train: r8, steps: 1, batch: 5}\n  b: {train: r8f4, steps: 1, batch: {r8f4: 2, r8: 5}}\n"
    )
    recipe, graph = load_recipe_and_graph(tmp_path / "r.yaml")
    _, levels = activation_memory(graph)
    assert levels["r8f4"].training > 3 * levels["r8"].training  # four frames
    found = phase_memory(recipe, graph, "b")
    errors = 4 * 3 * 8**2 * (2 * 4 + 5)
    expected = 2 * levels["r8f4"].training + 5 * levels["r8"].training + errors
    assert found.activations == pytest.approx(expected, rel=1e-3)
    assert (phase_memory(recipe, graph, "a").what, found.what) == ("5 rows", "2 clips of 4 frames and 3 images")
    monkeypatch.setattr(machine, "memory_of", lambda device: found.peak - 1)
    with pytest.raises(MemoryRefusal, match="phase b: .* for activations of 2 clips of 4 frames and 3 images"):
        check_training(recipe, graph, "cpu")


def test_sampling_takes_weights_and_rows():
    graph = load_entry("mdm-micro").graph
    memory, _ = activation_memory(graph)
    assert sampling_bytes(graph, 3) - sampling_bytes(graph, 1) == 2 * memory.inference


def test_the_memory_of_this_machine(monkeypatch, tmp_path):
    size = memory_of(torch.device("cpu"))
    assert size is None or size > 2**28
    limit = tmp_path / "memory.max"
    limit.write_text("12345\n")
    monkeypatch.setattr(machine, "LIMITS", (tmp_path / "nosuch", limit))
    assert memory_of("cpu") == 12345
    limit.write_text("max\n")
    assert memory_of("cpu") != 12345 and memory_of("xla") is None
    monkeypatch.setenv("ZOO_MEMORY_CHECK", "0")
    assert memory_of("cpu") is None


def test_precision_is_that_of_the_training(monkeypatch):
    recipe, graph = load_recipe("micro-test", ["phases.p16.batch=8"]), load_entry("mdm-micro").graph
    full, half = (phase_memory(recipe, graph, "p16", half=half).peak for half in (False, True))
    assert half < full
    monkeypatch.setattr(machine, "memory_of", lambda device: half)
    with pytest.raises(MemoryRefusal):
        check_training(recipe, graph, "cpu")  # auto is float32 for small images
    check_training(load_recipe("micro-test", ["phases.p16.batch=8", "precision=bfloat16"]), graph, "cpu")
    monkeypatch.setattr(
        "builders.precision.pick_precision", lambda name, device, side: {16: "bfloat16"}.get(side, name)
    )
    check_training(load_recipe("micro-test", ["phases.p16.batch=8", "phases.p8=null"]), graph, "cpu")
