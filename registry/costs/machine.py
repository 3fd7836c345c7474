"""The memory of this machine, and what it cannot hold."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.costs.requirements import PhaseMemory, fitted_memory, phase_memory, sampling_bytes, with_memory
from registry.costs.units import short_bytes
from specs.passes.usual_side import usual_side
from specs.printable import printable
from specs.syntax.overrides import set_option

if TYPE_CHECKING:
    from specs.graph import EntryGraph
    from specs.schemas.recipe import Recipe

__all__ = ["MemoryRefusal", "check_sampling", "check_training", "decided", "memory_of"]

#: Limits of a container, of version 2 and 1 of Linux's control groups.
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
#: Variable that turns the checks off.
VARIABLE = "ZOO_MEMORY_CHECK"
OVERRIDE = f"to try anyway, set {VARIABLE}=0"


class MemoryRefusal(ValueError):
    """The device has too little memory. The message gives the estimate and what to do."""


def memory_of(device: Any) -> int | None:
    """Return the memory of a device in bytes, or None if it is unknown or not to be checked.

    Args:
        device: A torch device or its name. For the CPU: physical memory and swap, or the limit of the container.
    """
    if os.environ.get(VARIABLE) == "0":
        return None
    kind = str(device).partition(":")[0]
    if kind == "cuda":
        import torch

        return int(torch.cuda.get_device_properties(device).total_memory)
    if kind not in ("cpu", "mps"):
        return None
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):  # not on Windows
        return None
    limits = [found for path in LIMITS if (found := _number(path)) is not None]
    return min([size + _swap(), *limits]) if size > 0 else None


def check_training(recipe: Recipe, graph: EntryGraph, device: Any) -> None:
    """Check that a device can hold the least that each phase of a recipe takes, before anything is allocated.

    Raises:
        MemoryRefusal: It cannot.
    """
    size = memory_of(device)
    if size is None:
        return
    shared = _shared(recipe, graph, device)
    for name in recipe.phases:
        try:
            found = phase_memory(recipe, graph, name, **shared)
        except (ValueError, KeyError):  # levels that do not exist are reported by the training
            continue
        if found.peak <= size:
            continue
        advice = _advice(recipe, graph, name, found, size, shared)
        batch = found.total - found.state
        state, activations = short_bytes(found.peak - batch), short_bytes(batch)
        raise MemoryRefusal(
            f"{graph.name}, phase {printable(name)}: training takes at least {short_bytes(found.peak)} ({state} for "
            f"weights, EMA, gradients and optimizer, {activations} for activations of {found.what}), but "
            f"{_where(device)} has {short_bytes(size)}. {advice}; {OVERRIDE}, or add --no-memory-check"
        )


def decided(recipe: Recipe, graph: EntryGraph, device: Any) -> Recipe:
    """Return a recipe in which ``memory.checkpoint: auto`` is decided for a device."""
    return fitted_memory(recipe, graph, memory_of(device), **_shared(recipe, graph, device))


def _shared(recipe: Recipe, graph: EntryGraph, device: Any) -> dict[str, Any]:
    """Return the number of processes, whether autocast is used, and whether on a GPU."""
    import torch

    from builders.precision import pick_precision

    processes = max(1, int(os.environ.get("WORLD_SIZE") or 1))
    half = pick_precision(recipe.precision, torch.device(device), usual_side(recipe, graph)) != "float32"
    return {"processes": processes, "half": half, "gpu": torch.device(device).type not in ("cpu", "mps")}


def _advice(recipe: Recipe, graph: EntryGraph, name: str, found: PhaseMemory, size: int, shared: dict[str, Any]) -> str:
    """Say what makes a phase fit: passes of fewer rows, checkpointing, or both; or a smaller batch."""
    fewer = [{"rows_per_pass": 2**power} for power in reversed(range((found.rows - 1).bit_length()))]
    settings = [*fewer, {"checkpoint": "auto"}, *({"checkpoint": "auto"} | each for each in fewer)]
    fits = found.rows_within(size) if recipe.memory_of(recipe.phases[name]).rows_per_pass is None else 0
    smaller = f"Use a smaller batch: {set_option('phases', name, 'batch', value=str(fits))}" if fits else ""
    for setting in settings:
        tried = with_memory(recipe, name, **setting)
        if phase_memory(tried, graph, name, **shared).peak <= size:
            options = [set_option("phases", name, "memory", key, value=str(value)) for key, value in setting.items()]
            same = f"for the same batch {' '.join(options)}"
            return f"{smaller}, or {same}" if smaller else f"Use less memory {same}"
    return smaller or "Use a smaller entry or a machine with more memory"


def check_sampling(graph: EntryGraph, device: Any, rows: int = 1) -> None:
    """Check that a device can hold the weights and a forward pass of some rows, before anything is allocated.

    Raises:
        MemoryRefusal: It cannot.
    """
    size, least = memory_of(device), sampling_bytes(graph, rows)
    if size is not None and least > size:
        raise MemoryRefusal(
            f"{graph.name}: sampling takes at least {short_bytes(least)}, but "
            f"{_where(device)} has {short_bytes(size)}; use a machine with more memory; {OVERRIDE}"
        )


def _where(device: Any) -> str:
    return "this machine" if str(device) in ("cpu", "mps") else f"the device {device}"


def _number(path: Path) -> int | None:
    """Return the number in a file of the kernel, or None if there is none or no limit."""
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):
        return None


def _swap() -> int:
    try:
        lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("SwapTotal:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return 0
