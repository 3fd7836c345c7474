"""Holm's method: by hand, against Bonferroni, and by simulation of false rejections."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.statistics.holm import holm_adjusted, holm_adjusted_rows


@pytest.mark.parametrize(
    ("raw", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # 4 x 0.005, 3 x 0.01, 2 x 0.03, then no less than it
        ([0.02], [0.02]),
        ([0.5, 0.6, 0.9], [1.0, 1.0, 1.0]),
        ([0.01, 0.01], [0.02, 0.02]),
        ([0.03, 0.0], [0.03, 0.0]),
        ([], []),
    ],
)
def test_by_hand(raw, adjusted):
    assert holm_adjusted(raw) == pytest.approx(tuple(adjusted))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_equals_the_step_down_rule(raw):
    """Reject from the smallest on, each at alpha / (number that is left), and stop at the first that is not."""
    adjusted = holm_adjusted(raw)
    for alpha in (0.01, 0.05, 0.3):
        rejected = set()
        for place, index in enumerate(sorted(range(len(raw)), key=raw.__getitem__)):
            if raw[index] * (len(raw) - place) > alpha:
                break
            rejected.add(index)
        assert {index for index, value in enumerate(adjusted) if value <= alpha} == rejected
    assert all(one >= other for one, other in zip(adjusted, raw, strict=True))
    assert all(one <= min(1, len(raw) * other) for one, other in zip(adjusted, raw, strict=True))


def test_several_families():
    rows = np.array([[0.01, 0.04, 0.03], [0.2, 0.001, 0.9]])
    assert [tuple(row) for row in holm_adjusted_rows(rows)] == [holm_adjusted(list(row)) for row in rows]


@pytest.mark.parametrize("wrong", [[-0.1], [0.5, 1.1], [float("nan")]])
def test_what_is_no_p_value(wrong):
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm_adjusted(wrong)
