"""Results as Markdown tables, and the machine they were measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.suite.comparing import Comparison
from benchmarks.suite.ladder import KINDS, Rung
from benchmarks.suite.utilization import Utilization

__all__ = ["machine", "markdown", "table"]

GIB = 2**30
#: Instructions that matter to the speed of a CPU.
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
Result = Comparison | Rung | Utilization


def machine(device: str) -> str:
    """Return the machine in one line: processor or GPU, threads, and versions."""
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    if torch.device(device).type == "cuda":
        return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, {versions}"
    model, flags = platform.machine(), ""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = dict(line.split("\t", 1) for line in info.read_text(encoding="utf-8").splitlines() if "\t" in line)
        values = {key: value.strip(" \t:") for key, value in lines.items()}
        model = values.get("model name", model)
        found = [name for name in INSTRUCTIONS if name in values.get("flags", "").split()]
        flags = f" ({', '.join(found)})" if found else ""
    threads = torch.get_num_threads()
    return f"{model}{flags}, {os.cpu_count()} cores, {threads} thread{'s' * (threads != 1)}, {versions}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with aligned columns; all but the first two columns are numbers."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = "|".join("-" * (width + 2) if column < 2 else "-" * (width + 1) + ":" for column, width in enumerate(widths))
    return "\n".join([line(header), f"|{rule}|", *map(line, rows)])


def table(results: Sequence[Result]) -> str:
    """Return the table of results of one kind."""
    first = results[0]
    if isinstance(first, Comparison):
        return markdown(COMPARED, [_compared(each) for each in results if isinstance(each, Comparison)])
    if isinstance(first, Rung):
        return markdown(CLIMBED, [_climbed(each) for each in results if isinstance(each, Rung)])
    return markdown(USED, [_used(each) for each in results if isinstance(each, Utilization)])


COMPARED = ("benchmark", "case", "unit", "plain", "zoo", "plain / zoo (range)", "by the clock")


def _compared(result: Comparison) -> list[str]:
    wall = "" if result.wall is None else f"{result.wall.median:.2f}"
    ratio = f"{result.ratio.median:.2f}" if result.wall is None else str(result.ratio)
    numbers = [_number(result.plain), _number(result.zoo), ratio, wall]
    return [result.benchmark, result.case, result.unit, *numbers]


CLIMBED = ("added", "case", "training ms", "gain (range)", "MiB", "sampling ms", "gain (range)")


def _climbed(rung: Rung) -> list[str]:
    cells = []
    for kind in KINDS:
        known = kind in rung.milliseconds
        cells.append(_number(rung.milliseconds[kind]) if known else "")
        cells.append(str(rung.gains[kind]) if known and rung.name != "plain" else "")
        if kind == KINDS[0]:
            cells.append("" if rung.memory is None else _number(rung.memory))
    return [rung.name, rung.case, *cells]


USED = ("entry", "precision", "rows", "train ms", "TFLOP/s", "used", "sample ms", "TFLOP/s", "used", "peak GiB",
        "rule GiB", "state GiB", "saved GiB")  # fmt: skip


def _used(result: Utilization) -> list[str]:
    shares = ["-" if share is None else f"{100 * share:.1f} %" for share in result.used]
    sizes = [f"{size / GIB:.2f}" for size in (result.memory, result.rule, result.state, result.saved)]
    training = [f"{1e3 * result.training:.1f}", _number(3 * result.flops / result.training / 1e12), shares[0]]
    sampling = [f"{1e3 * result.sampling:.1f}", _number(result.flops / result.sampling / 1e12), shares[1]]
    return [result.entry, result.precision, str(result.rows), *training, *sampling, *sizes]


def _number(value: Any) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
