"""Settings of torch during a run: fast products of float32 matrices, and compiled blocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from builders.networks.compiling import compiler_problem, room_for_kinds
from builders.precision import fast_float32
from builders.training.errors import warn

__all__ = ["compiles", "torch_settings"]


def compiles(asked: bool, device: torch.device, *, sharded: bool = False, main: bool = True) -> bool:
    """Return whether blocks are compiled: if that is asked for, there is a compiler, and the network is not divided.

    Args:
        asked: ``compile`` of the recipe.
        device: Device to train on.
        sharded: Whether the network is divided among processes.
        main: Whether to warn if blocks are not compiled.
    """
    problem = None
    if asked and sharded:
        problem = "the network is divided among processes"
    elif asked and (reason := compiler_problem(device)) is not None:
        problem = f"torch.compile does not work here ({reason})"
    if problem is not None and main:
        warn(f"compile: true has no effect: {problem}")
    return asked and problem is None


@contextmanager
def torch_settings(device: torch.device, *, compiling: bool) -> Iterator[None]:
    """Set what a run needs of torch, and set it back afterwards."""
    with ExitStack() as stack:
        stack.enter_context(fast_float32(device))
        if compiling:
            stack.enter_context(room_for_kinds())
        yield
