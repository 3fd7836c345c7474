"""Precision of activations: which one pays on a device, and contexts in which networks run in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from specs.passes.usual_side import CPU_SIDE

__all__ = ["autocast", "cpu_has_bfloat16", "fast_float32", "pick_precision"]

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_precision(name: str, device: torch.device, side: int = 0) -> str:
    """Return a precision as it is, and the one that pays for "auto".

    On a GPU that supports it that is bfloat16. On a CPU it is bfloat16 for images of at least 64 pixels, if the
    processor multiplies in it (AVX-512 BF16 or AMX). Anywhere else it is float32.

    Args:
        name: "auto", "float32", "bfloat16" or "float16".
        device: Device of the network.
        side: Side in pixels of the images of the outermost level; of a recipe, the
            :func:`specs.passes.usual_side.usual_side` of its phases.
            0 for float32 on every CPU, so that a seed draws the same sample on all of them.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    pays = device.type == "cpu" and side >= CPU_SIDE and cpu_has_bfloat16()
    return "bfloat16" if pays else "float32"


def cpu_has_bfloat16() -> bool:
    """Return whether the processor multiplies in bfloat16; False if this version of torch does not say so."""
    if not hasattr(torch.cpu, "get_capabilities"):
        return False
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return a context in which networks with float32 weights compute activations in a precision.

    Args:
        device: Device of the network.
        precision: "float32", "bfloat16" or "float16".
    """
    return torch.autocast(device.type, DTYPES[precision]) if precision in DTYPES else nullcontext()


@contextmanager
def fast_float32(device: torch.device) -> Iterator[None]:
    """Let a GPU multiply float32 matrices in TF32, with 10 bits of the mantissa, in this context.

    Convolutions do so by default. On other devices nothing changes.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
