"""Charts of a study."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from registry.study_report.charts import _cut_long_intervals


@pytest.mark.parametrize(
    "found, limits",
    [
        ([(-2.0, -900.0, 500.0), (1.0, 0.5, 1.5)], (-6.5, 5.5)),  # values from -2 to 1, and 1.5 times their range
        ([(-2.0, -900.0, 0.5), (1.0, 0.5, 1.5)], (-6.5, 1.5 + 0.05 * 4.5)),
        ([(-2.0, -3.0, -1.0), (1.0, 0.5, 1.5)], None),
        ([(0.0, -1.0, 1.0)], None),
        ([], None),
    ],
)
def test_the_axis_of_contrasts_does_not_follow_intervals_that_are_much_longer(found, limits):
    axes = Figure().subplots()
    before = axes.get_xlim()
    assert _cut_long_intervals(axes, found) is (limits is not None)
    assert axes.get_xlim() == pytest.approx(limits or before)
