"""What every benchmark takes and yields: options, and comparisons of the zoo with the plain implementation."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.suite.inputs import randomized
from benchmarks.suite.measuring import Ratio, Times, alternate, ratio
from builders.networks.nested_unet import NestedUNet, build_model
from specs.graph import EntryGraph

__all__ = ["ROOT", "Comparison", "Options", "compare", "compared", "counted", "run_python", "zoo_model"]

#: Folder of the project.
ROOT = Path(__file__).resolve().parents[2]
#: Entries and rows that are measured, by device.
CASES = {"quick": ("mdm-micro:2",), "cpu": ("mdm-nano:4", "two-levels:1"), "cuda": ("mdm-nano:64", "mdm-s64:16")}


@dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes:
        device: "cpu" or "cuda".
        quick: Whether one round of the smallest entry is enough.
        rounds: Number of rounds.
        cases: Entries and rows, such as ``mdm-nano:8``. Empty for those of :data:`CASES`.
        picture: File to draw the ladder to.
    """

    device: str = "cpu"
    quick: bool = False
    rounds: int = 5
    cases: tuple[str, ...] = ()
    picture: Path | None = None

    @property
    def entries(self) -> list[tuple[str, int]]:
        """Names of entries and rows."""
        chosen = self.cases or CASES["quick" if self.quick else torch.device(self.device).type]
        return [(name, int(rows or 1)) for name, _, rows in (case.partition(":") for case in chosen)]

    @property
    def least(self) -> float:
        """Least seconds of a measurement."""
        return 0.0 if self.quick else 0.1


@dataclass(frozen=True)
class Comparison:
    """The zoo and the plain implementation in one case.

    Attributes:
        benchmark: Name of the benchmark.
        case: What was measured.
        unit: "ms" of CPU time, or by the clock on a GPU; "MiB"; "steps".
        plain: Median of the plain implementation.
        zoo: Median of the zoo.
        ratio: Plain over zoo, so that more than 1 is a gain.
        wall: The same by the clock; None for memory.
        rounds: Number of rounds.
    """

    benchmark: str
    case: str
    unit: str
    plain: float
    zoo: float
    ratio: Ratio
    wall: Ratio | None
    rounds: int

    def record(self) -> dict[str, Any]:
        """Return the comparison as plain data."""
        return asdict(self)


Measure = Callable[[Options], Iterator[Comparison]]


def compare(
    benchmark: str, case: str, plain: Callable[[], object], zoo: Callable[[], object], options: Options, **how: Any
) -> Comparison:
    """Measure two calls in alternation.

    Args:
        benchmark: Name of the benchmark.
        case: What is measured.
        plain: Call of the plain implementation.
        zoo: Call of the zoo.
        options: How to measure.
        **how: Arguments of :func:`benchmarks.suite.measuring.alternate`.
    """
    how = {"device": options.device, "least": options.least, **how}
    times = alternate({"plain": plain, "zoo": zoo}, options.rounds, **how)
    return compared(benchmark, case, times, how["device"])


def compared(benchmark: str, case: str, times: Mapping[str, Times], device: str, parts: int = 1) -> Comparison:
    """Return the comparison of measured times of "plain" and "zoo".

    Args:
        benchmark: Name of the benchmark.
        case: What was measured.
        times: Times by name.
        device: Device that was measured.
        parts: Number by which times are divided, such as that of the steps of a call.
    """
    plain, zoo = times["plain"], times["zoo"]
    medians = [1000 * statistics.median(each.seconds(device)) / parts for each in (plain, zoo)]
    inner = ratio(plain.seconds(device), zoo.seconds(device))
    return Comparison(benchmark, case, "ms", *medians, inner, ratio(plain.wall, zoo.wall), len(plain.wall))


def counted(number: int, what: str) -> str:
    """Return a number with its noun: "1 row", "2 rows"."""
    return f"{number} {what}{'s' * (number != 1)}"


def zoo_model(graph: EntryGraph, device: str) -> NestedUNet:
    """Build the network of the zoo with random weights."""
    model = randomized(build_model(graph)).to(device)
    assert isinstance(model, NestedUNet)
    return model


def run_python(arguments: Sequence[str], folder: Path | None = None) -> str:
    """Run a fresh Python process in the project's folder, or another one; return what it prints.

    Raises:
        RuntimeError: It failed; the message holds its last lines.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder or ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return done.stdout
