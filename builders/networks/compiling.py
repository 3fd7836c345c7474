"""Compiling blocks with ``torch.compile``, each kind of block once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from builders.networks.nested_unet import NestedUNet

__all__ = [
    "block_modules", "compile_blocks", "compile_failure", "compiler_problem", "room_for_kinds", "run_uncompiled",
]  # fmt: skip

#: Most compiled versions of one function. All modules run through the same function of torch, so each kind of block
#: (class, arguments, shapes, training or not) is a version of it.
MOST_KINDS = 512


def block_modules(model: NestedUNet) -> list[nn.Module]:
    """Return the blocks and heads of all levels."""
    found = []
    for level in model.graph.levels:
        names = (*(node.name for node in level.nodes if node.block != "nest"), "head")
        found += [model.levels[level.label].get_submodule(name) for name in names]
    return found


def compile_blocks(model: NestedUNet) -> None:
    """Compile every block in place. Blocks of one kind and size share their code.

    The compiled code is made when a block first runs. Parameters and their names do not change, copies of the network
    are not compiled. Call this inside :func:`room_for_kinds`, and run the network there.
    """
    for block in block_modules(model):
        # Sizes are fixed: code for any size is slower.
        block.compile(dynamic=False)


def run_uncompiled(model: NestedUNet) -> None:
    """Undo :func:`compile_blocks`."""
    for block in block_modules(model):
        block._compiled_call_impl = None


@contextmanager
def room_for_kinds() -> Iterator[None]:
    """Allow as many compiled versions of a function as a network has kinds of blocks; torch's own limit is 8."""
    from torch import _dynamo

    config: Any = _dynamo.config
    name = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"  # before torch 2.7
    limits = {name: MOST_KINDS, f"accumulated_{name}": 2 * MOST_KINDS}
    with config.patch({key: max(value, getattr(config, key)) for key, value in limits.items()}):
        yield


def compiler_problem(device: torch.device) -> str | None:
    """Return why nothing can be compiled for a device, such as a missing C++ compiler, or None."""
    try:
        torch.compile(_trial)(torch.ones(8, device=device))
    except Exception as error:
        return compile_failure(error)
    return None


def compile_failure(error: Exception) -> str:
    """Return the reason of an error of the compiler in one line, and what to do if its cache is damaged."""
    reason = getattr(error, "inner_exception", None) or error.__cause__ or error
    text = (str(reason).strip() or type(reason).__name__).splitlines()[0][:300]
    folder = _cache_folder()
    return f"{text}; if this file is damaged, remove {folder}" if folder and folder in text else text


def _cache_folder() -> str:
    """Return the folder of compiled code, or nothing if this version of torch does not say where it is."""
    try:
        from torch._inductor.runtime.cache_dir_utils import cache_dir
    except ImportError:
        return ""
    return str(cache_dir())


def _trial(x: torch.Tensor) -> torch.Tensor:
    return x.sin() + 1
