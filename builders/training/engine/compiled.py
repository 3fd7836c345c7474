"""Settings of torch during a run: fast products of float32 matrices, compiled blocks, the layout of convolutions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch

from builders.networks.compiling import compiler_problem, room_for_kinds
from builders.precision import fast_float32
from builders.training.distributed import Processes
from builders.training.errors import warn
from builders.training.settings import PhaseSettings

__all__ = ["as_possible", "torch_settings"]


def as_possible(phases: Sequence[PhaseSettings], processes: Processes) -> list[PhaseSettings]:
    """Return settings of phases without what does not work here; the main process warns of each.

    All processes must call this. Blocks are compiled if each process has a compiler, and nothing is compiled or laid
    out in another way if the network is divided among processes.
    """
    divided = "the network is divided among processes" if processes.sharded else None
    problems = {"compile": divided, "channels_last": divided}
    if divided is None and any(phase.compile for phase in phases):
        # All compile or none does: those that do wait for each other in the first step.
        reasons = processes.gather(compiler_problem(processes.device))
        reason = next((each for each in reasons if each is not None), None)
        problems["compile"] = None if reason is None else f"torch.compile does not work here ({reason})"
    for key, problem in problems.items():
        if problem is not None and any(getattr(phase, key) for phase in phases):
            if processes.main:
                warn(f"{key}: true has no effect: {problem}")
            off: dict[str, Any] = {key: False}
            phases = [replace(phase, **off) for phase in phases]
    return list(phases)


@contextmanager
def torch_settings(device: torch.device, *, compiling: bool) -> Iterator[None]:
    """Set what a run needs of torch, and set it back afterwards."""
    with ExitStack() as stack:
        stack.enter_context(fast_float32(device))
        if compiling:
            stack.enter_context(room_for_kinds())
        yield
