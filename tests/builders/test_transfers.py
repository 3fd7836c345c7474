"""Copies to a device that nothing waits for."""

from __future__ import annotations

import pytest
import torch

from builders.transfers import to_device


@pytest.mark.parametrize(("device", "pinned", "expected"), [
    ("cuda", False, ["pin", "to cuda without waiting"]),
    ("cuda", True, ["to cuda without waiting"]),
    ("cpu", False, ["to cpu without waiting"]),
])  # fmt: skip
def test_what_is_not_pinned_is_pinned_for_a_gpu(device, pinned, expected, monkeypatch):
    seen = []

    def pin(self):
        seen.append("pin")
        return self

    def to(self, where, *, non_blocking):
        seen.append(f"to {where}{' without waiting' * non_blocking}")
        return self

    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda self: pinned)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.Tensor, "to", to)
    value = torch.ones(2)
    assert to_device(value, torch.device(device)) is value
    assert seen == expected


def test_a_tensor_that_is_there_is_not_copied():
    value = torch.ones(2)
    assert to_device(value, "cpu") is value
