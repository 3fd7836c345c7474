"""Shares of the peak rate."""

from __future__ import annotations

import pytest
import torch

from benchmarks.suite.tables import table
from benchmarks.suite.utilization import Utilization, peak_rate


@pytest.mark.parametrize(
    ("device", "precision", "rate"),
    [
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989.4e12),
        ("NVIDIA H100 80GB HBM3", "float32", 494.7e12),
        ("Unknown Device", "float32", None),
    ],
)
def test_the_peak_rate_is_that_of_the_data_sheet(device, precision, rate, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: device)
    assert peak_rate(torch.device("cuda"), precision) == rate


def test_the_share_counts_three_forward_passes():
    found = Utilization("bfloat16", "x", 2, training=0.5, sampling=0.1, flops=10**12, peak=2e13, memory=0, rule=0,
                        state=0, saved=0)  # fmt: skip
    assert found.used == pytest.approx((0.3, 0.5))
    assert "30.0 %" in table([found])
    assert peak_rate(torch.device("cpu"), "float32") is None
