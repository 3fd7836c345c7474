"""Limits of diffusion processes: the fewest steps of a schedule, and the largest shift."""

from __future__ import annotations

import pytest

from specs.schemas.noise import process_problem


@pytest.mark.parametrize(
    "process",
    [
        ("linear", 20),
        ("cosine", 1),
        ("cosine_logsnr", 1),
        # Without a power there is no shift, whatever the ratio.
        ("cosine", 10, 1e13),
        ("cosine", 10, 10, 12),
        ("cosine", 10, 10, -400),
    ],
)
def test_processes_within_the_limits(process):
    assert process_problem(*process) is None
    assert process_problem("cosine", 10, power=100) is None


def test_schedules_need_steps():
    message = (
        "schedule 'linear' needs at least 20 steps, not 19: its betas are scaled by 1000 / steps and would exceed 1; "
        "use 'cosine' for few steps"
    )
    assert process_problem("linear", 19) == ("steps", message)
    assert process_problem("cosine", 0)[0] == "steps"


@pytest.mark.parametrize(
    ("power", "text"), [(12.5, "12.5"), (400, "400"), (float("inf"), "inf"), (float("nan"), "nan")]
)
def test_shifts_leave_a_signal(power, text):
    message = (
        f"a shift of {text} divides the signal-to-noise ratio of the outermost level by 10^{text}, more than 1e+12: "
        "every step would be noise"
    )
    assert process_problem("cosine", 10, 10, power) == ("shift", message)
