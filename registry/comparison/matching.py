"""Scale the widths of one entry until its cost is nearest to that of another, for fair baselines."""

from __future__ import annotations

import functools
import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from registry.catalogue import get
from registry.costs.card import make_card
from specs.blocks.base import DEFAULT_GROUPS
from specs.errors import SpecError, did_you_mean
from specs.graph import EntryGraph
from specs.library import is_path
from specs.user_paths import expanded as expand_home

if TYPE_CHECKING:
    from specs.schemas.entry import LevelSpec

__all__ = ["COSTS", "Match", "match"]

#: Costs that can be matched: names of attributes of a card.
COSTS = ("flops", "parameters")
#: What they are called in text.
WORDS = {"flops": "FLOPs", "parameters": "parameters"}
#: Largest factor for the widths.
LARGEST = 16


class _Width(NamedTuple):
    """Path, value and group size of a width."""

    path: str
    value: int
    groups: int


class _Variant(NamedTuple):
    """Widths by path, graph and cost of a variant."""

    widths: tuple[tuple[str, int], ...]
    graph: EntryGraph
    cost: int


@dataclass(frozen=True, slots=True)
class Match:
    """A variant of an entry whose cost is near that of another.

    Attributes:
        base: Name of the entry that was scaled.
        extends: What the variant extends: the name of the entry, or the path of its file.
        like: Name of the other entry.
        by: Name of the cost.
        widths: Pairs of a path, such as ``nest.stages.r16.width``, and a width.
        graph: Graph of the variant.
        cost: Cost of the variant.
        target: Cost of the other entry.
    """

    base: str
    extends: str
    like: str
    by: str
    widths: tuple[tuple[str, int], ...]
    graph: EntryGraph
    cost: int
    target: int

    @property
    def ratio(self) -> float:
        """Cost of the variant divided by the target."""
        return self.cost / self.target

    @property
    def yaml(self) -> str:
        """The variant as the text of a spec."""
        import yaml

        spec: dict[str, Any] = {
            "name": f"{self.base}-like-{self.like}".replace(".", "-"),
            "summary": f"{self.base} with the {WORDS[self.by]} of {self.like}.",
            "extends": self.extends,
        }
        for path, width in self.widths:
            *parents, last = path.split(".")
            functools.reduce(lambda level, key: level.setdefault(key, {}), parents, spec)[last] = width
        # This style puts the innermost mappings on one line: ``r16: {width: 32}``.
        return str(yaml.safe_dump(spec, sort_keys=False, allow_unicode=True, width=1000, default_flow_style=None))


def match(base: str, like: str, by: str = "flops", *, inner: bool = False) -> Match:
    """Scale the widths of one entry until its cost is nearest to that of another.

    All widths are multiplied by one factor and rounded to the group size of their norms.

    Args:
        base: Name of the entry to scale, or path of its file.
        like: Name of the other entry, or path of its file.
        by: Cost to match, of one forward pass including inner levels: "flops" or "parameters".
        inner: Whether to scale the inner levels too.

    Raises:
        LookupError: An entry does not exist.
        SpecError: An entry is wrong.
        ValueError: There is no such cost, or no factor brings the costs within a factor of two.
    """
    if by not in COSTS:
        hint = did_you_mean(by, COSTS) or f"; there are {' and '.join(COSTS)}"
        raise ValueError(f"no cost {by!r}{hint}")
    found, other = get(base), get(like)
    target = getattr(make_card(other.architecture), by)
    best = _nearest(base, list(_widths(found.spec, inner)), by, target)
    if best is None or not 0.5 <= best.cost / target <= 2:
        hint = "" if inner or len(found.labels) == 1 else "; --inner scales the inner levels too"
        raise ValueError(f"no widths of {base} bring its {WORDS[by]} near those of {like} ({target:,}){hint}")
    extends = os.path.abspath(expand_home(base)) if is_path(base) else found.name
    return Match(found.name, extends, other.name, by, *best, target)


def _widths(level: LevelSpec, inner: bool, path: str = "") -> Iterator[_Width]:
    """Yield the widths of all stages or nodes that have their own."""
    groups = DEFAULT_GROUPS
    for arguments in (level.defaults or {}).values():
        groups = arguments.get("groups", groups) if isinstance(arguments, dict) else groups
    for name, stage in (level.stages or {}).items():
        yield _Width(f"{path}stages.{name}.width", stage.width, groups)
    if level.graph is not None:
        yield _Width(f"{path}graph.stem.width", level.graph.stem.width, groups)
        for name, node in level.graph.others.items():
            if node.width is not None:
                yield _Width(f"{path}graph.{name}.width", node.width, groups)
    if inner and level.nest is not None:
        yield from _widths(level.nest, inner, f"{path}nest.")


def _nearest(base: str, widths: Sequence[_Width], by: str, target: int) -> _Variant | None:
    """Return the variant whose cost is nearest to the target; None if no variant is valid."""
    widest, step = max(width.value for width in widths), max(width.groups for width in widths)

    @functools.cache
    def variant(number: int) -> _Variant | None:
        """Return the variant whose widest stage has ``number`` groups, or None if it is not valid."""
        factor = number * step / widest
        scaled = tuple((w.path, max(1, round(w.value * factor / w.groups)) * w.groups) for w in widths)
        try:
            graph = get(base, [f"{path}={width}" for path, width in scaled]).architecture
        except SpecError:
            return None
        return _Variant(scaled, graph, getattr(make_card(graph), by))

    def cost(number: int) -> int:
        found = variant(number)
        return found.cost if found is not None else 0

    # Costs rise with the width. Rounding can make a neighbor nearer than the variant that bisection finds.
    numbers = range(1, max(2, LARGEST * widest // step))
    place = 1 + bisect_left(numbers, target, key=cost)
    near = [found for number in range(max(1, place - 3), place + 3) if (found := variant(number)) is not None]
    return min(near, key=lambda found: abs(found.cost - target), default=None)
