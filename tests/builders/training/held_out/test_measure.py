"""Held-out measures: the same noise for a sample in every entry, the whole split, and exact signal-to-noise ratios."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from builders.diffusion.predictions import prediction_target, x0_from
from builders.diffusion.process import DiffusionProcess
from builders.training.held_out.measure import HeldOut
from builders.training.validation import log_snr_errors, validation_losses
from specs.graph import Process
from specs.schemas.held_out import LOG_SNRS, ValidationSpec
from tests.helpers.graphs import clip_entry, plain_entry
from tests.helpers.held_out import SPREAD, Split


class Best(nn.Module):
    """The network that is optimal for independent normal values, E[v | z], on every level; it records what it reads."""

    def __init__(self, graph: Any, process: DiffusionProcess) -> None:
        super().__init__()
        self.graph, self.labels, self.process = graph, graph.labels, process
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[list[Tensor], Tensor]] = []
        self.gain = 1.0

    def forward(self, z: list[Tensor], t: Tensor) -> list[Tensor]:
        assert not self.training
        self.seen.append(([each.clone() for each in z], t.clone()))
        result = []
        for level, schedule in zip(z, self.process.schedules, strict=True):
            g = schedule[t + 1].view(-1, *[1] * (level.dim() - 1))
            spread = SPREAD * level.shape[-1] / self.graph.resolution  # means of pixels are less spread
            covariance = (g * (1 - g)).sqrt() * (1 - spread**2)
            result.append(self.gain * covariance / (g * spread**2 + 1 - g) * level)
        return result


def network(*sides: int, **process: Any) -> tuple[Best, DiffusionProcess]:
    graph = plain_entry(*sides, process=Process(**process))
    return Best(graph, DiffusionProcess(graph)), DiffusionProcess(graph)


def test_errors_are_those_of_the_optimal_network_at_exactly_these_ratios():
    """For values of variance s^2, the least error is s^2 / (1 + s^2 SNR)."""
    model, process = network(16, 8, shift=1.5)
    found = HeldOut(model, process, Split(24, 16), ValidationSpec(log_snr_draws=12)).errors()
    assert list(found) == ["r16", "r8"]
    for label, spread in (("r16", SPREAD), ("r8", SPREAD / 2)):
        assert list(found[label]) == list(LOG_SNRS)
        for ratio, error in found[label].items():
            assert error == pytest.approx(spread**2 / (1 + spread**2 * math.exp(ratio)), rel=0.05), (label, ratio)


@pytest.mark.parametrize("steps", [50, 1000])
def test_ratios_are_exact_with_few_steps(steps):
    """The ratios of a schedule are others; noise is added at the fixed ones. A network of zeros has a known error."""
    model, process = network(8, 4, steps=steps)
    model.gain = 0.0
    split = Split(60, 8)
    found = HeldOut(model, process, split, ValidationSpec(log_snr_draws=12)).errors()["r8"]
    for ratio in LOG_SNRS[2:-2]:
        g = 1 / (1 + math.exp(-ratio))
        wanted = (1 - g) ** 2 * float(split.images.square().mean()) + g * (1 - g)
        assert found[ratio] == pytest.approx(wanted, rel=0.02), ratio


def test_ratios_outside_a_schedule_are_left_out():
    model, process = network(8, schedule="cosine_logsnr")
    assert max(HeldOut(model, process, Split(12, 8), ValidationSpec(log_snr_draws=12)).errors()["r8"]) == 5
    assert HeldOut(model, process, Split(12, 8), ValidationSpec(log_snr_draws=0)).errors() == {"r8": {}}


def test_flat_and_nested_entries_see_the_same_images_noise_and_times():
    nested, process = network(16, 8, base=4)
    flat, flat_process = network(16, base=4)
    split = Split(9, 16)
    HeldOut(nested, process, split, batch_size=4).v_losses()
    HeldOut(flat, flat_process, split, batch_size=9).v_losses()
    seen = [torch.cat([z[0] for z, _ in model.seen]) for model in (nested, flat)]
    times = [torch.cat([t for _, t in model.seen]) for model in (nested, flat)]
    order = [torch.argsort(each) for each in times]
    assert times[0][order[0]].tolist() == times[1][order[1]].tolist() and len(times[0]) == 18
    torch.testing.assert_close(seen[0][order[0]], seen[1][order[1]])
    for model, its_process in ((nested, process), (flat, flat_process)):
        model.errors = HeldOut(model, its_process, split, ValidationSpec(log_snr_draws=3)).errors()["r16"]
    assert nested.errors == pytest.approx(flat.errors, rel=1e-5)


def test_other_samples_of_the_split_do_not_matter():
    model, process = network(8)
    whole = [HeldOut(model, process, Split(count, 8, first=first)).v_losses()["r8"] for first, count in
             ((0, 10), (0, 4), (4, 6))]  # fmt: skip
    assert whole[0] == pytest.approx(0.4 * whole[1] + 0.6 * whole[2], rel=1e-6)


def test_v_loss_is_that_of_the_optimal_network():
    model, process = network(8)
    found = validation_losses(model, process, Split(200, 8), draws=4)["r8"]
    g = process.schedules[0][1:].double()
    assert found == pytest.approx(float((SPREAD**2 / (1 - g + SPREAD**2 * g)).mean()), rel=0.03)


def test_at_most_as_many_samples_as_set_or_frames_of_clips():
    model, process = network(8)
    split = Split(3, 8)
    HeldOut(model, process, split, ValidationSpec(samples=7)).v_losses()
    graph = clip_entry((8, 4), (8, 1))
    clips = Split(3, 8, frames=4)
    model = Best(graph, DiffusionProcess(graph))
    losses = HeldOut(model, DiffusionProcess(graph), clips, ValidationSpec(samples=7, draws=1), batch_size=4).v_losses()
    assert list(losses) == ["r8f4", "r8"]
    assert split.asked == [7] and clips.asked == [1]


def test_every_sample_is_measured_at_every_ratio_of_the_outermost_level():
    nested, process = network(16, 8, base=4)
    flat, flat_process = network(16, base=4)
    split = Split(5, 16)
    found = HeldOut(nested, process, split, batch_size=2).outermost_errors(3)
    assert list(found) == list(LOG_SNRS)
    for ratio, error in found.items():
        assert error == pytest.approx(SPREAD**2 / (1 + SPREAD**2 * math.exp(ratio)), rel=0.1), ratio
    assert sum(len(t) for _, t in nested.seen) == 5 * 3 * 12
    assert HeldOut(flat, flat_process, split, batch_size=5).outermost_errors(3) == pytest.approx(found, rel=1e-5)
    model, process = network(8, schedule="cosine_logsnr")
    assert max(HeldOut(model, process, Split(2, 8)).outermost_errors(1)) == 5


def test_the_mode_of_the_network_is_restored():
    model, process = network(8)
    model.train()
    assert log_snr_errors(model, process, Split(2, 8), spec=ValidationSpec(log_snr_draws=12)).keys() == {
        f"r8/{ratio:g}" for ratio in LOG_SNRS
    }
    assert model.training


def test_processes_that_share_the_samples_measure_what_one_does():
    model, process = network(8, 4)
    split, spec = Split(11, 8), ValidationSpec(log_snr_draws=3)
    alone = HeldOut(model, process, split, spec, batch_size=4)
    parts: list[Tensor] = []

    def measured(method: str) -> Any:
        parts.clear()
        for index in range(2):
            shared = HeldOut(model, process, split, spec, batch_size=4, part=(index, 2),
                             total=lambda sums: parts.append(sums) or torch.stack(parts).sum(0))  # fmt: skip
            found = getattr(shared, method)()
        return found

    assert measured("v_losses") == pytest.approx(alone.v_losses(), rel=1e-6)
    errors = alone.errors()
    for label, found in measured("errors").items():
        assert found == pytest.approx(errors[label], rel=1e-6)


@pytest.mark.parametrize("kind", ["eps", "x", "flow"])
def test_predictions_of_all_kinds_are_measured_alike(kind):
    """Networks that imply the same images have the same errors; those of eps are limited at the noisiest times."""

    class Other(Best):
        def forward(self, z: list[Tensor], t: Tensor) -> list[Tensor]:
            result = []
            for noisy, v, schedule in zip(z, super().forward(z, t), self.process.schedules, strict=True):
                g = schedule[t + 1]
                x = x0_from("v", noisy, v, g)
                wide = g.view(-1, 1, 1, 1)
                result.append(prediction_target(kind, x, (noisy - wide.sqrt() * x) / (1 - wide).sqrt(), g))
            return result

    model = network(8, 4)[0]
    graph = plain_entry(8, 4, process=Process(prediction=kind))
    other, spec, split = Other(graph, DiffusionProcess(graph)), ValidationSpec(log_snr_draws=6), Split(30, 8)
    split.images.clamp_(-0.9, 0.9)
    found = [HeldOut(each, each.process, split, spec) for each in (model, other)]
    assert found[1].v_losses() == pytest.approx(found[0].v_losses(), rel=2e-2)
    errors = [each.errors() for each in found]
    for label in ("r8", "r4"):
        assert errors[1][label] == pytest.approx(errors[0][label], rel=1e-3)


def test_shared_noise_is_measured_as_it_is_trained():
    """With shift 2, the noisy image of the inner level is the average of that around it, at all its ratios."""
    model, process = network(16, 8, noise="shared", shift=2)
    HeldOut(model, process, Split(9, 16), ValidationSpec(log_snr_draws=2)).errors()
    for (outer, inner), _ in model.seen:
        seen = torch.nn.functional.avg_pool2d(outer, 2)
        share = (inner * seen).flatten(1).sum(1) / seen.square().flatten(1).sum(1)
        torch.testing.assert_close(inner, share.view(-1, 1, 1, 1) * seen, rtol=1e-3, atol=1e-3)
