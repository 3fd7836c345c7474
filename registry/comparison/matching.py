"""The variant of one entry whose cost is nearest to another's, for baselines that are fair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from registry.catalogue import get
from registry.costs.card import make_card
from specs.blocks.base import DEFAULT_GROUPS
from specs.errors import SpecError
from specs.graph import EntryGraph
from specs.library import is_path

if TYPE_CHECKING:
    from specs.schemas.entry import LevelSpec

__all__ = ["COSTS", "Match", "match"]

#: What can be matched: names of fields of a card.
COSTS = ("flops", "parameters")
LARGEST = 16


@dataclass(frozen=True, slots=True)
class Match:
    """A variant of ``base``, and how near its cost came to the one of ``like``."""

    base: str
    #: What the variant extends: the entry's name, or the file it was read from.
    extends: str
    like: str
    by: str
    #: Widths by path, such as ``nest.stages.r16.width``.
    widths: tuple[tuple[str, int], ...]
    graph: EntryGraph
    cost: int
    target: int

    @property
    def ratio(self) -> float:
        """Cost of the variant over the cost that was wanted."""
        return self.cost / self.target

    @property
    def yaml(self) -> str:
        """The variant as a file of its own."""
        name = f"{self.base}-like-{self.like}".replace(".", "-")
        lines = [
            f"name: {name}",
            f"summary: {self.base} with the {self.by} of {self.like}.",
            f"extends: {self.extends}",
        ]
        before: tuple[str, ...] = ()
        for path, width in self.widths:
            *parents, member, _ = path.split(".")
            shared = 0
            while shared < min(len(parents), len(before)) and parents[shared] == before[shared]:
                shared += 1
            lines += [f"{'  ' * depth}{parents[depth]}:" for depth in range(shared, len(parents))]
            lines.append(f"{'  ' * len(parents)}{member}: {{width: {width}}}")
            before = tuple(parents)
        return "\n".join(lines) + "\n"


def match(base: str, like: str, by: str = "flops", *, inner: bool = False) -> Match:
    """Scale the widths of ``base`` until its cost is nearest to that of ``like``.

    Every width is scaled by one factor and rounded to the groups of the norms.

    Args:
        base: name of the entry to scale, or path of its file.
        like: name of the entry, or path of the file, to come near.
        by: "flops" or "parameters", of one forward pass, inner levels included.
        inner: scale the levels inside too; else they stay as they are.

    Raises:
        LookupError, SpecError: an entry is not there or wrong.
        ValueError: no such cost, or no width comes within a factor of two.
    """
    if by not in COSTS:
        raise ValueError(f"no cost {by!r}; there are {' and '.join(COSTS)}")
    target = getattr(make_card(get(like).architecture), by)
    found = get(base)
    scaler = _Scaler(base, list(_widths(found.spec, inner)), by)
    best = scaler.nearest(target)
    if best is None or not 0.5 <= best[2] / target <= 2:
        hint = "" if inner or len(found.labels) == 1 else "; --inner scales the levels inside too"
        raise ValueError(f"no widths of {base} bring its {by} near those of {like} ({target:,}){hint}")
    widths, graph, cost = best
    extends = str(Path(base).expanduser().absolute()) if is_path(base) else found.name
    return Match(found.name, extends, get(like).name, by, widths, graph, cost, target)


def _widths(level: LevelSpec, inner: bool, path: str = "") -> Iterator[tuple[str, int, int]]:
    """Path, width and group size of every stage or node that has a width of its own."""
    groups = DEFAULT_GROUPS
    for arguments in (level.defaults or {}).values():
        groups = arguments.get("groups", groups) if isinstance(arguments, dict) else groups
    for name, stage in (level.stages or {}).items():
        yield f"{path}stages.{name}.width", stage.width, groups
    if level.graph is not None:
        yield f"{path}graph.stem.width", level.graph.stem.width, groups
        for name, node in level.graph.others.items():
            if node.width is not None:
                yield f"{path}graph.{name}.width", node.width, groups
    if inner and level.nest is not None:
        yield from _widths(level.nest, inner, f"{path}nest.")


class _Scaler:
    """Costs of an entry by the number of groups that its widest stage has."""

    def __init__(self, name: str, widths: list[tuple[str, int, int]], by: str) -> None:
        self.name, self.widths, self.by = name, widths, by
        self.widest = max(width for _, width, _ in widths)
        self.step = max(groups for _, _, groups in widths)
        self.known: dict[int, tuple[tuple[tuple[str, int], ...], EntryGraph, int] | None] = {}

    def at(self, number: int) -> tuple[tuple[tuple[str, int], ...], EntryGraph, int] | None:
        """Widths, graph and cost with the widest stage at ``number`` groups; None if it is not a valid entry."""
        if number not in self.known:
            factor = number * self.step / self.widest
            widths = tuple((p, max(1, round(width * factor / groups)) * groups) for p, width, groups in self.widths)
            try:
                graph = get(self.name, [f"{path}={width}" for path, width in widths]).architecture
                self.known[number] = (widths, graph, getattr(make_card(graph), self.by))
            except SpecError:
                self.known[number] = None
        return self.known[number]

    def nearest(self, target: int) -> tuple[tuple[tuple[str, int], ...], EntryGraph, int] | None:
        """The nearest cost; costs rise with the width, so a bisection finds where to look."""
        low, high = 1, max(2, LARGEST * self.widest // self.step)
        while low < high:
            middle = (low + high) // 2
            found = self.at(middle)
            low, high = (middle + 1, high) if found is None or found[2] < target else (low, middle)
        near = [found for number in range(max(1, low - 3), low + 3) if (found := self.at(number)) is not None]
        return min(near, key=lambda found: abs(found[2] - target), default=None)
