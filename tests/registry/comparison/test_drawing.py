"""Labels of logarithmic axes."""

from __future__ import annotations

import pytest

from registry.comparison.drawing import few_ticks, log_axis


def labels(prepare, low, high):
    """Labels of the ticks between two values."""
    from matplotlib.figure import Figure

    axis = Figure().subplots().xaxis
    axis.axes.set_xscale("log")
    axis.axes.set_xlim(low, high)
    prepare(axis.axes)
    places = [place for place in axis.get_majorticklocs() if low <= place <= high]
    return axis.get_major_formatter().format_ticks(places)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0001, 0.03, ["0.0001", "0.0003", "0.001", "0.003", "0.01", "0.03"]),
        (0.5, 10, ["0.5", "1", "2", "5", "10"]),
        (90, 250, ["100", "200"]),
    ],
)
def test_numbers_keep_their_zeros(low, high, expected):
    assert labels(lambda axes: few_ticks(axes.xaxis, [low, high], lambda value: f"{value:.3g}"), low, high) == expected


def test_zeros_before_a_unit_are_left_out():
    assert labels(lambda axes: log_axis(axes, [1e6, 3e8]), 1e6, 3e8) == ["1 M", "3 M", "10 M", "30 M", "100 M", "300 M"]
