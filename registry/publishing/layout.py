"""Layout of a diagram: boxes in columns, and lines between them that neither overlap nor run through a box.

Every box has a column of its own. A line is straight where nothing is in its way. Otherwise it leaves the top of its
box, runs along a free lane above both boxes, and enters the other box from above.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import accumulate, groupby
from operator import itemgetter

from specs.blocks import Size
from specs.graph import STEPS, EntryGraph, Node, shapes, stage_sizes

__all__ = ["BOX_HEIGHT", "BOX_WIDTH", "Box", "Frame", "Layout", "Line", "Point", "lay_out"]

BOX_WIDTH, BOX_HEIGHT, COLUMN = 1.3, 0.5, 1.75
#: Vertical offset of a level above the one inside it, so that stages of the same size do not overlap.
LIFT = 0.55
#: Distance of a lane from the boxes below it, and of two lanes.
ABOVE, LANE = 0.16, 0.15
#: Height of a line of the text below a box, and where the text begins.
TEXT_LINE, TEXT_TOP = 0.15, 0.31
#: Height of a line's end above or below the middle of a box, so that skips and steps meet it apart.
SKIP_END, STEP_END = 0.1, -0.08
#: Number of lines above which they are routed in the simple way.
MANY = 400

Point = tuple[float, float]


@dataclass(eq=False)
class Box:
    """A box of the diagram: consecutive blocks of one level at one size."""

    level: int
    size: Size
    nodes: list[Node] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0

    @property
    def shown(self) -> list[Node]:
        """The blocks in the text: without those that only change the size, unless there are no others."""
        return [node for node in self.nodes if node.block not in (*STEPS, "nest")] or self.nodes

    @property
    def widths(self) -> str:
        """The widths of the blocks, without repetitions."""
        return "-".join(map(str, dict.fromkeys(node.width for node in self.shown)))

    @property
    def blocks(self) -> str:
        """The number of blocks of each kind, one kind per line."""
        counts = Counter(node.block for node in self.shown if node.block not in ("stem", "head"))
        return "\n".join(name if n == 1 else f"{n} {name}" for name, n in counts.items())

    @property
    def area(self) -> Frame:
        """The box and the text below it."""
        text = TEXT_LINE * len(self.blocks.splitlines())
        half = BOX_WIDTH / 2
        return Frame(self.x - half, self.x + half, self.y - TEXT_TOP - text, self.y + BOX_HEIGHT / 2)


@dataclass(frozen=True)
class Frame:
    """A rectangle."""

    left: float
    right: float
    bottom: float
    top: float

    def grown(self, margin: float) -> Frame:
        """Return the rectangle with a margin around it."""
        return Frame(self.left - margin, self.right + margin, self.bottom - margin, self.top + margin)

    def meets(self, first: Point, second: Point) -> bool:
        """Return whether a line segment runs through the rectangle."""
        enter, leave = 0.0, 1.0
        for (start, end), (low, high) in zip(
            zip(first, second, strict=True), ((self.left, self.right), (self.bottom, self.top)), strict=True
        ):
            step = end - start
            if step == 0:
                if not low < start < high:
                    return False
                continue
            near, far = sorted(((low - start) / step, (high - start) / step))
            enter, leave = max(enter, near), min(leave, far)
        return enter < leave


@dataclass(frozen=True)
class Line:
    """A line from one box to another.

    Attributes:
        first: Box whose output it carries.
        second: Box that reads it.
        skip: Whether it skips boxes at one size; all others are steps of the data.
        points: Corners of the line, from the first box to the second.
    """

    first: Box
    second: Box
    skip: bool
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Layout:
    """The boxes from left to right, the lines, and the frame of each level, outermost first."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    frames: tuple[Frame, ...]


def lay_out(graph: EntryGraph) -> Layout:
    """Return the layout of a checked entry."""
    boxes, edges = _boxes(graph)
    _space_rows(boxes, edges)
    router = _Router(boxes, simple=len(edges) > MANY)
    frames: list[Frame] = []
    lines: list[Line] = []
    for level in reversed(range(len(graph.levels))):
        own = [(a, b) for a, b in edges if min(a.level, b.level) == level]
        lines += router.lines(own, level)
        frames.insert(0, router.frame(level, len(graph.levels)))
    return Layout(tuple(boxes), tuple(lines), tuple(frames))


def _walk(graph: EntryGraph, level: int) -> Iterator[tuple[int, Size, Node]]:
    """Yield level, size and node of all blocks in the order of the data; an inner level before its nest."""
    this = graph.levels[level]
    sizes, widths = stage_sizes(this), {name: width for name, (width, _) in shapes(this).items()}
    yield level, this.size, Node("stem", "stem", this.stem_width, (), ())
    for node in this.nodes:
        if node.block == "nest":
            yield from _walk(graph, level + 1)
        yield level, sizes[node.name], node
    yield level, this.size, Node("head", "head", widths[this.head], (), (this.head,))


def _boxes(graph: EntryGraph) -> tuple[list[Box], list[tuple[Box, Box]]]:
    """Return the boxes from left to right, and the pairs of boxes that lines connect."""
    boxes: list[Box] = []
    places: dict[tuple[int, str], Box] = {}
    for (level, size), steps in groupby(_walk(graph, 0), key=itemgetter(0, 1)):
        y = math.log2(size.side * size.frames) + LIFT * (len(graph.levels) - 1 - level)
        for nodes in _connected([node for *_, node in steps]):
            boxes.append(Box(level, size, nodes, x=COLUMN * len(boxes), y=y))
            places |= {(level, node.name): boxes[-1] for node in nodes}
    edges: dict[tuple[Box, Box], None] = {}  # a set that keeps its order
    for (level, _), box in places.items():
        for node in box.nodes:
            edges |= dict.fromkeys((places[level, name], box) for name in node.inputs)
            if node.block == "nest":
                edges |= dict.fromkeys((places[level, name], places[level + 1, "stem"]) for name in node.inputs)
                edges[places[level + 1, "head"], box] = None
    return boxes, [(a, b) for a, b in edges if a is not b]


def _connected(nodes: Sequence[Node]) -> list[list[Node]]:
    """Split nodes into those that are connected with each other, in the order of the first of each."""
    group_of: dict[str, list[int]] = {}
    for index, node in enumerate(nodes):
        joined = [index]
        for group in {id(found): found for name in node.inputs if (found := group_of.get(name))}.values():
            joined += group
        group_of |= {nodes[member].name: joined for member in joined}
    groups = {id(group): sorted(group) for group in group_of.values()}
    return [[nodes[index] for index in group] for group in sorted(groups.values())]


def _space_rows(boxes: Sequence[Box], edges: Sequence[tuple[Box, Box]]) -> None:
    """Move rows of boxes up, so that the lanes above the row below and the texts of their own fit between them."""
    rows: dict[tuple[float, int], list[Box]] = {}
    for box in boxes:
        rows.setdefault((box.y, box.level), []).append(box)
    spans: dict[tuple[float, int], list[tuple[float, float]]] = {}
    for a, b in edges:
        if (a.y, a.level) == (b.y, b.level):
            spans.setdefault((a.y, a.level), []).append((min(a.x, b.x), max(a.x, b.x)))
    extra, ordered = 0.0, sorted(rows)
    for key, above in zip(ordered, [*ordered[1:], None], strict=True):
        raised, extra_here = rows[key], extra
        if above is not None and above[1] == key[1]:
            texts = max(len(box.blocks.splitlines()) for box in rows[above])
            needed = LANE * _lanes([box.x for box in raised], spans.get(key, [])) + TEXT_LINE * texts
            extra += max(0.0, needed + BOX_HEIGHT + ABOVE + TEXT_TOP - 0.15 - 1)
        for box in raised:
            box.y += extra_here


def _lanes(places: Sequence[float], spans: Sequence[tuple[float, float]]) -> int:
    """Return the largest number of spans that run over one of the boxes at these places, from left to right."""
    changes = [0] * (len(places) + 1)
    for left, right in spans:
        first, last = bisect_right(places, left), bisect_left(places, right)
        if first < last:
            changes[first] += 1
            changes[last] -= 1
    return max(accumulate(changes))


class _Router:
    """Finds the lines between boxes, level by level from the innermost one.

    Args:
        boxes: All boxes, placed.
        simple: Whether to route all lines but those to the next box above all boxes, which is fast.
    """

    def __init__(self, boxes: Sequence[Box], simple: bool) -> None:
        self.boxes, self.simple = boxes, simple
        self.areas = [(box, box.area) for box in boxes]
        #: Horizontal parts of the lines in lanes: left end, right end, height, level.
        self.lanes: list[tuple[float, float, float, int]] = []
        self.inner: Frame | None = None

    def lines(self, edges: Sequence[tuple[Box, Box]], level: int) -> list[Line]:
        """Return the lines of a level; those that are routed in lanes come last."""
        straight, routed = [], []
        for a, b in edges:
            skip = a.level == b.level and a.size == b.size
            height = SKIP_END if skip else STEP_END
            ends = ((a.x + BOX_WIDTH / 2, a.y + height), (b.x - BOX_WIDTH / 2, b.y + height))
            if a.x < b.x and (b.x - a.x < 1.5 * COLUMN or not self.simple) and self.is_free(*ends, a, b):
                straight.append(Line(a, b, skip, ends))
            else:
                routed.append((a, b, skip))
        routed.sort(key=lambda edge: edge[1].x - edge[0].x)
        pairs = [(a, b) for a, b, _ in routed]
        heights = self.simple_lanes(pairs, level) if self.simple else [self.lane(a, b, level) for a, b in pairs]
        leaving = _ports([(a, height) for (a, _), height in zip(pairs, heights, strict=True)])
        entering = _ports([(b, height) for (_, b), height in zip(pairs, heights, strict=True)])
        top = BOX_HEIGHT / 2
        for (a, b, skip), height, start, end in zip(routed, heights, leaving, entering, strict=True):
            left, right = a.x + start, b.x - end
            corners = ((left, a.y + top), (left, height), (right, height), (right, b.y + top))
            straight.append(Line(a, b, skip, corners))
        return straight

    def is_free(self, first: Point, second: Point, a: Box, b: Box) -> bool:
        """Return whether a straight line from box ``a`` to box ``b`` meets neither boxes nor the level inside."""
        if any(area.meets(first, second) for box, area in self.areas if box is not a and box is not b):
            return False
        return a.level != b.level or self.inner is None or not self.inner.grown(LANE).meets(first, second)

    def lane(self, a: Box, b: Box, level: int) -> float:
        """Return the height of the lowest free lane above two boxes, and take it."""
        left, right = min(a.x, b.x), max(a.x, b.x)
        taken = [
            (area.bottom, area.top)
            for box, area in self.areas
            if box is not a and box is not b and area.left < right and left < area.right
        ]
        if a.level == b.level and self.inner is not None and self.inner.left < right and left < self.inner.right:
            taken.append((self.inner.bottom - LANE, self.inner.top + LANE))
        taken += [(y - 0.9 * LANE, y + 0.9 * LANE) for start, end, y, _ in self.lanes if start < right and left < end]
        height = max(a.y, b.y) + BOX_HEIGHT / 2 + ABOVE
        for low, high in sorted(taken):
            if low < height < high:
                height += LANE * math.ceil((high - height) / LANE)
        self.lanes.append((left, right, height, level))
        return height

    def simple_lanes(self, pairs: Sequence[tuple[Box, Box]], level: int) -> list[float]:
        """Return a lane above all boxes for each pair, as few as possible."""
        base = max([area.top for _, area in self.areas] + [height for _, _, height, _ in self.lanes]) + ABOVE
        heights, used = [0.0] * len(pairs), 0
        free: list[int] = []
        busy: list[tuple[float, int]] = []
        for index in sorted(range(len(pairs)), key=lambda index: min(pairs[index][0].x, pairs[index][1].x)):
            left, right = sorted((pairs[index][0].x, pairs[index][1].x))
            while busy and busy[0][0] <= left:
                heappush(free, heappop(busy)[1])
            lane, used = (heappop(free), used) if free else (used, used + 1)
            heappush(busy, (right, lane))
            heights[index] = base + LANE * lane
            self.lanes.append((left, right, heights[index], level))
        return heights

    def frame(self, level: int, levels: int) -> Frame:
        """Return the frame around a level and the levels inside it, which later lines avoid."""
        inside = [box for box in self.boxes if box.level >= level]
        pad = 0.95 - 0.04 * level
        lanes = [height for _, _, height, own in self.lanes if own >= level]
        bottom = min(box.y for box in inside) - 0.85 - 0.14 * (levels - 1 - level)
        top = max([max(box.y for box in inside) + 0.62, *(height + 0.44 for height in lanes)])
        self.inner = Frame(inside[0].x - pad, inside[-1].x + pad, bottom, top)
        return self.inner


def _ports(ends: Sequence[tuple[Box, float]]) -> list[float]:
    """Return, for lines that end at a box from a lane, the distance of each end from the middle of its box.

    Lines of higher lanes end nearer to the middle, so that they do not cross the others.
    """
    heights: dict[int, list[float]] = {}
    for box, height in ends:
        heights.setdefault(id(box), []).append(height)
    ranks = {key: {height: rank for rank, height in enumerate(sorted(own))} for key, own in heights.items()}
    return [_port(ranks[id(box)][height], len(heights[id(box)])) for box, height in ends]


def _port(index: int, count: int) -> float:
    """Return the distance from the middle of a box of one of its lines, the lowest lane being the outermost one."""
    spacing = min(0.16, 0.5 / count)
    return 0.1 + spacing * (count - 1 - index)
