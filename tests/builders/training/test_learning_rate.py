"""The learning rate schedule: warm-up, constant, cosine, by steps and by hours."""

from __future__ import annotations

import math

import pytest

from builders.training.learning_rate import learning_rate
from specs.schemas.recipe import ScheduleSpec

CONSTANT, COSINE = ScheduleSpec(warmup=4), ScheduleSpec(decay="cosine")


def test_warmup_is_linear_and_ends_at_the_base_rate() -> None:
    rates = [learning_rate(0.8, CONSTANT, step, steps=10) for step in range(6)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8])


def test_no_warmup_is_constant() -> None:
    assert [learning_rate(0.8, ScheduleSpec(), step, steps=3) for step in range(3)] == [0.8] * 3


def test_warmup_is_no_longer_than_the_phase() -> None:
    assert [learning_rate(1.0, CONSTANT, step, steps=2) for step in range(2)] == [0.5, 1.0]
    # A phase limited by hours has no last step.
    assert learning_rate(1.0, CONSTANT, 1, hours=1.0) == 0.5


def test_cosine_over_steps() -> None:
    rates = [learning_rate(2.0, COSINE, step, steps=4) for step in range(5)]
    assert rates == pytest.approx([2.0, 1 + math.sqrt(0.5), 1.0, 1 - math.sqrt(0.5), 0.0])


def test_cosine_over_hours() -> None:
    rates = [learning_rate(2.0, COSINE, 99, hours=2.0, seconds=seconds) for seconds in (0, 1800, 3600, 7200, 9000)]
    assert rates == pytest.approx([2.0, 1 + math.sqrt(0.5), 1.0, 0.0, 0.0])
    assert learning_rate(2.0, COSINE, 0, hours=2.0) == 2.0


def test_warmup_and_cosine_are_multiplied() -> None:
    both = ScheduleSpec(warmup=4, decay="cosine")
    assert learning_rate(1.0, both, 1, steps=4) == pytest.approx(0.5 * (1 + math.sqrt(0.5)) / 2)
