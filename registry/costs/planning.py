"""Plans of trainings: memory, FLOPs, time and cost of every phase on an accelerator; nothing is built, no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from registry.costs.device import PlannedDevice
from registry.costs.fitting import decided_for, fitted_recipe
from registry.costs.plan_table import plan_lines, plan_rows
from registry.costs.requirements import PhaseMemory, phase_costs, phase_memory, rows_at_once
from registry.costs.totals import count as count_costs
from specs.graph import EntryGraph
from specs.html_table import html_table
from specs.schemas.recipe import Recipe

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

__all__ = ["EFFICIENCY", "PhasePlan", "Plan", "plan_recipe"]

#: Share of the peak rate that a step reaches, unless another one is stated.
EFFICIENCY = 0.4


@dataclass(frozen=True, slots=True)
class PhasePlan:
    """What a phase takes on one of the devices.

    Attributes:
        name: Name of the phase.
        train: Label of the level that is trained, with those inside it.
        rows: Rows of a batch by level, of all devices.
        rows_per_pass: Rows by level that a device computes at once.
        passes: Passes of a device over its part of a batch.
        parameters: Number of parameters of the trained levels.
        checkpoint: Labels of the levels whose blocks are checkpointed.
        precision: Precision of activations.
        memory: Memory by what it holds.
        flops: FLOPs of a step of all devices: forward and backward.
        recomputed_flops: Further FLOPs of checkpointed blocks, which are computed again.
        seconds: Seconds of a step at the stated efficiency; None if the rate of the device is unknown.
        steps: Steps of the phase; None if they follow from its hours and the rate is unknown.
        hours: Hours of the phase; None if the rate is unknown.
        fits: Whether the memory of the device holds it; None if its memory is unknown.
    """

    name: str
    train: str
    rows: dict[str, int]
    rows_per_pass: dict[str, int]
    passes: int
    parameters: int
    checkpoint: tuple[str, ...]
    precision: str
    memory: PhaseMemory
    flops: int
    recomputed_flops: int
    seconds: float | None
    steps: int | None
    hours: float | None
    fits: bool | None


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """What a training takes, by phase, on a number of equal devices.

    Attributes:
        recipe: Recipe that is planned.
        device: The device.
        count: Number of devices, each with a process of its own.
        efficiency: Share of the peak rate that a step reaches.
        price: Price of an hour of one device, or None.
        phases: What each phase takes.
        changes: Options that change the recipe so that every phase fits; empty if none is needed, None if none helps.
        fitted: The recipe with these changes; the recipe itself if none is needed or helps.
    """

    recipe: Recipe
    device: PlannedDevice
    count: int
    efficiency: float
    price: float | None
    phases: tuple[PhasePlan, ...]
    changes: tuple[str, ...] | None
    fitted: Recipe

    @property
    def fits(self) -> bool:
        """Whether every phase fits, as far as the memory of the device is known."""
        return all(phase.fits is not False for phase in self.phases)

    @property
    def hours(self) -> float | None:
        """Hours of all phases, or None if they are unknown."""
        hours = [phase.hours for phase in self.phases]
        return None if None in hours else sum(each for each in hours if each is not None)

    @property
    def device_hours(self) -> float | None:
        """Hours of all devices together."""
        return None if self.hours is None else self.count * self.hours

    @property
    def cost(self) -> float | None:
        """Price of all device hours, or None if the price or the hours are unknown."""
        return None if self.price is None or self.device_hours is None else self.price * self.device_hours

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain data, for JSON."""
        phases = []
        for phase in self.phases:
            memory = asdict(phase.memory) | {"state": phase.memory.state, "total": phase.memory.total}
            del memory["phase"], memory["passes"], memory["rows"], memory["what"]
            phases.append(asdict(phase) | {"memory": memory | {"peak": phase.memory.peak}})
        return {
            "recipe": self.recipe.name, "entry": self.recipe.entry, "device": asdict(self.device), "count": self.count,
            "efficiency": self.efficiency, "price": self.price, "fits": self.fits, "hours": self.hours,
            "device_hours": self.device_hours, "cost": self.cost,
            "changes": None if self.changes is None else list(self.changes), "phases": phases,
        }  # fmt: skip

    def __repr__(self) -> str:
        words = "fits" if self.fits else "does not fit"
        return f"<Plan {self.recipe.name} on {self.count} x {self.device.name}: {words}, phases {len(self.phases)}>"

    def _repr_html_(self) -> str:
        first, *rows = plan_rows(self)
        return html_table(repr(self).strip("<>"), tuple(first), [tuple(row.values()) for row in (first, *rows)])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from plan_lines(self)


def plan_recipe(
    recipe: Recipe,
    graph: EntryGraph,
    device: PlannedDevice,
    *,
    count: int = 1,
    efficiency: float = EFFICIENCY,
    price: float | None = None,
) -> Plan:
    """Return what a training takes, and the changes with which it fits.

    Args:
        recipe: Recipe.
        graph: Graph of the recipe's whole entry.
        device: Device.
        count: Number of devices, each with a process of its own.
        efficiency: Share of the peak rate that a step reaches.
        price: Price of an hour of one device.

    Raises:
        ValueError: A number is out of range, or the device does not compute in the precision of the recipe.
    """
    if count < 1 or not 0 < efficiency <= 1 or (price is not None and price < 0):
        raise ValueError("a plan needs at least 1 device, an efficiency from 0 to 1 and a price of at least 0")
    device.check_precision(recipe.precision)
    decided = decided_for(recipe, graph, device, count)
    phases = tuple(_phases(decided, graph, device, count, efficiency))
    changes: tuple[str, ...] | None = ()
    fitted = recipe
    if any(phase.fits is False for phase in phases):
        found = fitted_recipe(recipe, graph, device, count)
        changes, fitted = (None, recipe) if found is None else (found.options, found.recipe)
    return Plan(recipe, device, count, efficiency, price, phases, changes, fitted)


def _phases(
    recipe: Recipe, graph: EntryGraph, device: PlannedDevice, processes: int, efficiency: float
) -> Iterator[PhasePlan]:
    for name, phase in recipe.phases.items():
        trained = graph.inner(phase.train)
        precision = device.precision_of(recipe, graph)
        half = precision != "float32"
        rows = phase.rows(trained.labels)
        at_once, passes = rows_at_once(recipe, graph, phase, processes)
        costs = phase_costs(recipe, graph, phase, half=half, gpu=device.gpu)
        memory = phase_memory(recipe, graph, name, processes=processes, half=half, gpu=device.gpu)
        model, everything = costs.flops(rows, again=False), costs.flops(rows)
        rate = device.rate(precision)
        seconds = None if rate is None else everything / processes / (rate * efficiency)
        steps, hours = phase.steps, phase.hours
        if hours is None:
            assert steps is not None
            hours = None if seconds is None else steps * seconds / 3600
        elif seconds:
            steps = round(3600 * hours / seconds)
        chosen = recipe.memory_of(phase).checkpoint
        yield PhasePlan(
            name=name,
            train=phase.train,
            rows=rows,
            rows_per_pass=at_once,
            passes=passes,
            parameters=count_costs(trained).total.parameters,
            checkpoint=tuple(label for label in trained.labels if chosen == "auto" or label in chosen),
            precision=precision,
            memory=memory,
            flops=model,
            recomputed_flops=everything - model,
            seconds=seconds,
            steps=steps,
            hours=hours,
            fits=None if device.memory is None else memory.peak <= device.memory,
        )
