"""Limits of axes of charts with long intervals."""

from __future__ import annotations

from math import inf

import pytest

from registry.study_report.limits import drawn, limits_of


@pytest.mark.parametrize(
    ("values", "ends", "limits"),
    [
        ([0, 10], [], None),
        ([0, -2, 1], [-900, 500, 0.5, 1.5], (-6.5, 5.5)),
        ([0, -2, 1], [-900, 0.5, 0.5, 1.5], (-6.5, 1.5 + 0.05 * 4.5)),
        ([0, -2, 1], [-3, -1, 0.5, 1.5], None),
        ([0, 10], [-15, 25], None),
        ([0, 10], [-16, 12], (-15, 12.75)),
        ([0, 10], [-2, 26], (-2.75, 25)),
        ([0, 10], [-inf, inf], (-15, 25)),
        ([0, 0], [-3, 3], None),
        ([0, 0], [-3, inf], (-3, 3)),
        ([2, 2], [-inf, inf], (1, 3)),
    ],
)
def test_limits(values, ends, limits):
    assert limits_of(values, ends) == (None if limits is None else pytest.approx(limits))


def test_ends_as_they_are_drawn():
    assert drawn(3, (0, 1)) == 3 and drawn(inf, None) == inf
    assert drawn(inf, (1, 3)) == 5 and drawn(-inf, (1, 3)) == -1
