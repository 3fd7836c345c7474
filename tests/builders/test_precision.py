"""Which precision "auto" is on a device, and the contexts that networks run in."""

from __future__ import annotations

import pytest
import torch

from builders import precision
from builders.precision import autocast, cpu_has_bfloat16, fast_float32, pick_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def units(monkeypatch):
    """Say what the processor and the GPU can do."""

    def have(**found):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: found.get("gpu", False))

    return have


@pytest.mark.parametrize(
    ("device", "side", "found", "expected"),
    [
        (CPU, 64, {"avx512_bf16": True}, "bfloat16"),
        (CPU, 256, {"amx_bf16": True}, "bfloat16"),
        (CPU, 32, {"avx512_bf16": True}, "float32"),
        (CPU, 0, {"avx512_bf16": True}, "float32"),
        (CPU, 64, {"avx512_f": True, "avx512_bf16": False}, "float32"),
        (GPU, 8, {"gpu": True}, "bfloat16"),
        (GPU, 0, {"gpu": True}, "bfloat16"),
        (GPU, 256, {"avx512_bf16": True}, "float32"),
        (torch.device("mps"), 256, {"avx512_bf16": True}, "float32"),
    ],
)
def test_the_precision_that_pays(units, device, side, found, expected):
    units(**found)
    assert pick_precision("auto", device, side) == expected
    assert pick_precision("float32", device, side) == "float32"
    assert pick_precision("bfloat16", device, side) == "bfloat16"


def test_a_torch_that_does_not_know_the_processor(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not cpu_has_bfloat16()


def test_networks_compute_in_the_precision():
    layer, x = torch.nn.Linear(4, 4), torch.randn(2, 4)
    for name in ("float32", "bfloat16"):
        with autocast(CPU, name):
            assert layer(x).dtype == getattr(torch, name)
    assert layer(x).dtype == torch.float32


def test_fast_products_are_for_gpus_and_for_the_context():
    before = torch.get_float32_matmul_precision()
    with fast_float32(CPU):
        assert torch.get_float32_matmul_precision() == before
    with pytest.raises(KeyError), fast_float32(GPU):
        assert torch.get_float32_matmul_precision() == "high"
        raise KeyError
    assert torch.get_float32_matmul_precision() == before == "highest"
    assert precision.CPU_SIDE == 64
