"""The device that a training is planned for: an accelerator by its data sheet, the GPU at hand, or this machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from registry.costs.machine import memory_of
from specs.accelerators import find_accelerator, load_accelerator
from specs.graph import EntryGraph
from specs.passes.usual_side import CPU_SIDE, usual_side
from specs.schemas.accelerator import AcceleratorSpec
from specs.schemas.recipe import Recipe

__all__ = ["PlannedDevice", "planned_device"]

#: FLOPs of one core in a cycle, by the flag of the processor that allows them: two units of fused multiply-adds.
_CYCLE = {"avx512f": 64, "avx2": 32, "asimd": 16}
#: How many times as many products in bfloat16, by flag.
_BFLOAT16 = {"amx_bf16": 16, "avx512_bf16": 2}


@dataclass(frozen=True, slots=True)
class PlannedDevice:
    """A device that trains.

    Attributes:
        name: Its name, such as ``h100-sxm`` or ``this machine``.
        title: Its full name.
        memory: Bytes of its memory, or None if unknown.
        peak: Peak FLOP/s of products by precision, where known.
        gpu: Whether autocast follows the rules of GPUs.
        source: Where the numbers are from.
        price: Price of an hour in its file, or None.
    """

    name: str
    title: str
    memory: int | None
    peak: Mapping[str, float] = field(default_factory=dict)
    gpu: bool = True
    source: str = ""
    price: float | None = None

    def rate(self, precision: str) -> float | None:
        """Return the peak rate of products in a precision in FLOP/s, or None if it is unknown."""
        if precision == "float32":
            return self.peak.get("tf32") or self.peak.get("float32")
        return self.peak.get(precision)

    def precision_of(self, recipe: Recipe, graph: EntryGraph) -> str:
        """Return the precision in which a recipe trains on this device.

        ``auto`` is bfloat16 on accelerators that have it, and on processors that do if at least half
        of the steps train 64 pixels or more.
        """
        if recipe.precision != "auto":
            return recipe.precision
        if self.gpu:
            return "bfloat16" if "bfloat16" in self.peak or not self.peak else "float32"
        pays = "bfloat16" in self.peak and usual_side(recipe, graph) >= CPU_SIDE
        return "bfloat16" if pays else "float32"

    def check_precision(self, precision: str) -> None:
        """Check that the device computes in a precision.

        Raises:
            ValueError: It does not; the message says which it has.
        """
        if precision in ("bfloat16", "float16") and self.gpu and self.peak and precision not in self.peak:
            has = ", ".join(each for each in self.peak if each != "tf32")
            raise ValueError(f"{self.name} has no {precision} ({has}); choose another one: --set precision=auto")
        if precision == "float16" and not self.gpu:
            raise ValueError("precision float16 needs a GPU; use float32 or bfloat16: --set precision=auto")


def planned_device(accelerator: str | os.PathLike[str] | None) -> PlannedDevice:
    """Return the device of this name or file; without one, the GPU at hand, or else this machine.

    Args:
        accelerator: Name of an accelerator (:func:`specs.accelerators.list_accelerators`) or path of its file.

    Raises:
        UnknownName: No accelerator has this name.
        SpecError: The file has errors.
    """
    if accelerator is not None:
        name = accelerator if isinstance(accelerator, str) else Path(accelerator)
        return _of_sheet(*load_accelerator(name))
    return _gpu_at_hand() or _this_machine()


def _of_sheet(name: str, spec: AcceleratorSpec, memory: int | None = None, title: str = "") -> PlannedDevice:
    size = int(spec.memory) if memory is None else memory
    peak = {str(precision): rate for precision, rate in spec.peak.items()}
    return PlannedDevice(name, title or spec.title or name, size, peak, True, spec.source, spec.price)


def _gpu_at_hand() -> PlannedDevice | None:
    """Return the first GPU that NVIDIA's driver lists, or None."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout.splitlines()
        title, _, size = lines[0].rpartition(",")
        memory = int(size) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
    found = find_accelerator(title.strip())
    if found is not None:
        return _of_sheet(*found, memory=memory, title=title.strip())
    return PlannedDevice("gpu", title.strip(), memory, source="nvidia-smi; its peak rate is not in accelerators.yaml")


def _this_machine() -> PlannedDevice:
    """Return this machine: its memory, and the peak rate of its cores by their clock and instructions."""
    memory, peak = memory_of("cpu"), _peak_of_processor()
    source = "cores, clock and instructions of /proc/cpuinfo" if peak else ""
    return PlannedDevice("this machine", "this machine (CPU)", memory, peak, gpu=False, source=source)


def _peak_of_processor() -> dict[str, float]:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return {}
    facts = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    clocks = [float(value) for name, value in facts if name == "cpu MHz"]
    flags = next((set(value.split()) for name, value in facts if name in ("flags", "Features")), set[str]())
    each = next((number for flag, number in _CYCLE.items() if flag in flags), 8)
    if not clocks:
        return {}
    cores = set(zip(_values(facts, "physical id"), _values(facts, "core id"), strict=False))
    rate = (len(cores) or len(clocks)) * max(clocks) * 1e6 * each
    half = next((number for flag, number in _BFLOAT16.items() if flag in flags), None)
    return {"float32": rate} | ({} if half is None else {"bfloat16": half * rate})


def _values(facts: list[tuple[str, str]], wanted: str) -> list[str]:
    return [value for name, value in facts if name == wanted]
