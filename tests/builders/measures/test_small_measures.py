"""The mean error, the largest stable rate, and distances to training images."""

from __future__ import annotations

import math

import pytest
import torch

from builders.measures.clean_error import mean_error
from builders.measures.memorisation import nearest_facts
from builders.measures.stable_rate import is_stable, largest_stable
from specs.schemas.held_out import LOG_SNRS


def test_the_mean_error_gives_all_ratios_the_same_weight():
    errors = {ratio: math.exp(-ratio) for ratio in LOG_SNRS}
    assert mean_error(errors) == pytest.approx(math.exp(-0.5))
    lower = {ratio: error * (0.5 if ratio == 6 else 1) for ratio, error in errors.items()}
    assert mean_error(lower) == pytest.approx(mean_error(errors) * 0.5 ** (1 / 12))
    with pytest.raises(ValueError, match="^no error at log-SNR 6: the schedule does not have it$"):
        mean_error({ratio: error for ratio, error in errors.items() if ratio < 6})


@pytest.mark.parametrize("limit", range(8))
def test_the_largest_stable_rate_is_found_in_three_runs_of_seven(limit):
    rates, tried = [2.0**power for power in range(7)], []

    def stable(rate: float) -> bool:
        tried.append(rate)
        return rate < 2.0**limit

    assert largest_stable(rates, stable) == (2.0 ** (limit - 1) if limit else None)
    assert len(tried) == 3


@pytest.mark.parametrize("rates", [[], [1.0, 1.0], [2.0, 1.0]])
def test_rates_must_ascend(rates):
    with pytest.raises(ValueError, match="^rates must ascend: "):
        largest_stable(rates, lambda rate: True)


@pytest.mark.parametrize(
    ("losses", "stable"),
    [
        ([1.0, 0.9, 0.8, 0.6, 0.5, 0.5, 0.4, 0.4], True),
        ([1.0, 0.9, 0.8, 0.6, 0.5, 0.5, 0.4, 1.3], True),  # one spike
        ([1.0, 0.9, 0.8, 0.6, 0.5, 0.5, 1.0, 0.9], False),  # back to where it began
        ([1.0, 2.0, 9.0, 3.0, 1.1, 1.0, 1.0, 1.0], False),
        ([1.0, 0.9, 0.8, 0.6, math.inf, 0.5, 0.4, 0.4], False),
        ([1.0, 0.9, 0.8, 0.6, 0.5, 0.5], False),  # it ended early
    ],
)
def test_a_run_is_stable_if_it_ends_below_its_start(losses, stable):
    assert is_stable(losses, 8) == stable


def test_copies_are_closer_than_held_out_images():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (240, 3, 4, 4), dtype=torch.uint8, generator=generator)
    training, held_out, new = images[:100], images[100:200], images[200:]
    copied = nearest_facts(training[:40], training, held_out)
    assert copied["nearest"] < 0.01 and copied["close"] == 1
    fresh = nearest_facts(new, training, held_out)
    assert fresh["nearest"] == pytest.approx(fresh["nearest_held_out"], rel=0.1) and fresh["close"] < 0.2
    one = (training[:1].float() - held_out[:1].float()).square().mean().sqrt() / 127.5
    assert nearest_facts(held_out[:1], training[:1], held_out)["nearest"] == pytest.approx(float(one), rel=1e-3)
