"""Alternating rounds, ratios and memory."""

from __future__ import annotations

import pytest
import torch

from benchmarks.suite.measuring import Ratio, Times, alternate, peak_bytes, ratio


def test_rounds_alternate_and_begin_with_another_call_each():
    order = []
    times = alternate({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3)
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"  # the first two are not counted
    assert len(times["a"].cpu) == len(times["b"].wall) == 3


def test_short_calls_are_repeated_and_their_mean_counts():
    calls = []
    alternate({"a": lambda: calls.append(1)}, rounds=1, least=1e-3)
    assert len(calls) > 10


def test_a_ratio_is_that_of_each_round():
    assert ratio((2.0, 9.0, 8.0), (1.0, 3.0, 2.0)) == Ratio(3.0, 2.0, 4.0)
    assert str(Ratio(3.0, 2.0, 4.0)) == "3.00 (2.00 to 4.00)"


def test_cpu_time_counts_on_the_cpu_and_the_clock_on_a_gpu():
    times = Times((1.0, 2.0, 3.0), (5.0, 6.0, 7.0))
    assert times.median("cpu") == 2 and times.median("cuda") == 6


def test_the_peak_is_that_of_tensors_alive_at_once():
    def call():
        for _ in range(3):
            x = torch.zeros(1000)
            y = x + 1
            del x, y

    assert peak_bytes(call) == pytest.approx(8000)
