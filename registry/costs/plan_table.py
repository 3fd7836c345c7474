"""A plan as a table: one column per phase, and the sums below."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from registry.costs.units import short, short_bytes, short_time
from specs.printable import printable

__all__ = ["plan_lines", "plan_rows", "plan_summary", "plan_title"]


def plan_rows(plan: Any) -> list[dict[str, str]]:
    """Return the rows of the table of a :class:`registry.costs.planning.Plan`: a title, and its cell of every phase."""
    columns = {printable(phase.name): _cells(phase, plan) for phase in plan.phases}
    titles = next(iter(columns.values())).keys()
    return [{"phase": title, **{name: cells[title] for name, cells in columns.items()}} for title in titles]


def _cells(phase: Any, plan: Any) -> dict[str, str]:
    memory, rows = phase.memory, "/".join(f"{number:,}" for number in phase.rows.values())
    size = plan.device.memory
    share = "" if size is None else f" ({100 * memory.peak / size:.0f} %)"
    recomputed = f" + {short(phase.recomputed_flops)} again" if phase.recomputed_flops else ""
    return {
        "level": phase.train,
        "rows": rows + (f" in {phase.passes} passes" if phase.passes > 1 else ""),
        "precision": phase.precision,
        "checkpointed": ", ".join(phase.checkpoint) or "none",
        "parameters": f"{phase.parameters:,}",
        "weights": short_bytes(memory.weights),
        "EMA": short_bytes(memory.ema),
        "gradients": short_bytes(memory.gradients),
        "optimizer": short_bytes(memory.optimizer),
        "gradient buckets": short_bytes(memory.buckets),
        "copies of weights": short_bytes(memory.copies),
        "activations": short_bytes(memory.activations),
        "images and buffers": short_bytes(memory.buffers),
        "sum": short_bytes(memory.total),
        "peak per device": short_bytes(memory.peak) + share,
        "fits": "unknown" if phase.fits is None else "yes" if phase.fits else "no",
        "FLOPs per step": short(phase.flops) + recomputed,
        "time per step": "unknown" if phase.seconds is None else short_time(phase.seconds),
        "steps": "unknown" if phase.steps is None else f"{phase.steps:,}",
        "time": "unknown" if phase.hours is None else short_time(3600 * phase.hours),
    }


def plan_title(plan: Any) -> str:
    """Return what is planned, and on what."""
    device = plan.device
    memory = "" if device.memory is None else f", {short_bytes(device.memory)}"
    each = " each" if plan.count > 1 and memory else ""
    return (
        f"{plan.recipe.name}: {printable(plan.recipe.entry)} on {plan.count} x {printable(device.title)}{memory}{each}"
    )


def plan_summary(plan: Any) -> Iterator[str]:
    """Yield the lines below the table: time, device hours and cost."""
    used = f"{100 * plan.efficiency:g} % of the peak rate"
    if plan.hours is None or plan.device_hours is None:
        yield "time: unknown, because the peak rate of the device is unknown"
    else:
        cost = "" if plan.cost is None else f", cost {plan.cost:,.2f} at {plan.price:g} per device hour"
        yield f"time at {used}: {short_time(3600 * plan.hours)}, {plan.device_hours:,.1f} device hours{cost}"
    if plan.device.source:
        yield f"peak rate: {printable(plan.device.source)}"


def plan_lines(plan: Any) -> Iterator[Any]:
    """Yield a plan as renderables of rich."""
    from rich.table import Table
    from rich.text import Text

    yield Text(plan_title(plan), "bold")
    rows = plan_rows(plan)
    table = Table(box=None, pad_edge=False)
    for title in rows[0]:
        table.add_column(title, justify="left" if title == "phase" else "right")
    for row in rows:
        table.add_row(*row.values())
    yield table
    yield from map(Text, plan_summary(plan))
