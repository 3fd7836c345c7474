"""Layout of a diagram: boxes in columns, and lines between them that neither overlap nor run through a box.

Every box has a column of its own. A line is straight where nothing is in its way. Otherwise it leaves the top of its
box, runs along a free lane above both boxes, and enters the other box from above.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

from specs.blocks import Size
from specs.graph import EntryGraph, Node, shapes

__all__ = ["BOX_HEIGHT", "BOX_WIDTH", "Box", "Frame", "Layout", "Line", "Point", "lay_out"]

BOX_WIDTH, BOX_HEIGHT, COLUMN = 1.3, 0.5, 1.75
#: Vertical offset of a level above the one inside it, so that stages of the same resolution do not overlap.
LIFT = 0.55
#: Distance of a lane from the boxes below it, and of two lanes.
ABOVE, LANE = 0.16, 0.15
#: Height of a line of the text below a box, and where the text begins.
TEXT_LINE, TEXT_TOP = 0.15, 0.31
#: Height of a line's end above or below the middle of a box, so that skips and steps meet it apart.
SKIP_END, STEP_END = 0.1, -0.08

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
        """The blocks in the text: without those that only change the resolution, unless there are no others."""
        return [node for node in self.nodes if node.block not in ("down", "up", "nest")] or self.nodes

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
        skip: Whether it skips boxes at one resolution; all others are steps of the data.
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
    router = _Router(boxes)
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
    sizes = shapes(this)
    yield level, this.size, Node("stem", "stem", this.stem_width, (), ())
    for node in this.nodes:
        if node.block == "nest":
            yield from _walk(graph, level + 1)
        yield level, sizes[node.name][1], node
    yield level, this.size, Node("head", "head", sizes[this.head][0], (), (this.head,))


def _boxes(graph: EntryGraph) -> tuple[list[Box], list[tuple[Box, Box]]]:
    """Return the boxes from left to right, and the pairs of boxes that lines connect."""
    boxes: list[Box] = []
    places: dict[tuple[int, str], Box] = {}
    for (level, size), steps in groupby(_walk(graph, 0), key=itemgetter(0, 1)):
        y = math.log2(size.side) + LIFT * (len(graph.levels) - 1 - level)
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
    groups: list[list[Node]] = []
    for node in nodes:
        reads = [group for group in groups if any(other.name in node.inputs for other in group)]
        joined = sorted([*(other for group in reads for other in group), node], key=nodes.index)
        groups = [group for group in groups if group not in reads] + [joined]
    return sorted(groups, key=lambda group: nodes.index(group[0]))


def _space_rows(boxes: Sequence[Box], edges: Sequence[tuple[Box, Box]]) -> None:
    """Move rows of boxes up, so that the lanes above the row below and the texts of their own fit between them."""
    rows = sorted({(box.y, box.level) for box in boxes})
    raised, extra = {}, 0.0
    for (y, level), above in zip(rows, [*rows[1:], None], strict=True):
        raised[y, level] = extra
        own = [box for box in boxes if (box.y, box.level) == (y, level)]
        routed = [(a, b) for a, b in edges if a in own and b in own and any(a.x < box.x < b.x for box in own)]
        lanes = max((sum(a.x < box.x < b.x for a, b in routed) for box in own), default=0)
        if above is not None and above[1] == level:
            texts = max(len(box.blocks.splitlines()) for box in boxes if (box.y, box.level) == above)
            extra += max(0.0, LANE * lanes + TEXT_LINE * texts + BOX_HEIGHT + ABOVE + TEXT_TOP - 0.15 - 1)
    for box in boxes:
        box.y += raised[box.y, box.level]


class _Router:
    """Finds the lines between boxes, level by level from the innermost one.

    Args:
        boxes: All boxes, placed.
    """

    def __init__(self, boxes: Sequence[Box]) -> None:
        self.boxes = boxes
        #: Horizontal parts of the lines in lanes: left end, right end, height, level.
        self.lanes: list[tuple[float, float, float, int]] = []
        self.inner: Frame | None = None

    def lines(self, edges: Sequence[tuple[Box, Box]], level: int) -> list[Line]:
        """Return the lines of a level; those that are routed in lanes come last."""
        straight, routed = [], []
        for a, b in edges:
            skip = a.level == b.level and a.y == b.y
            end = SKIP_END if skip else STEP_END
            ends = ((a.x + BOX_WIDTH / 2, a.y + end), (b.x - BOX_WIDTH / 2, b.y + end))
            if a.x < b.x and self.is_free(*ends, a, b):
                straight.append(Line(a, b, skip, ends))
            else:
                routed.append((a, b, skip))
        routed.sort(key=lambda edge: edge[1].x - edge[0].x)
        heights = [self.lane(a, b, level) for a, b, _ in routed]
        return straight + [
            Line(a, b, skip, self.corners(a, b, height, routed, heights))
            for (a, b, skip), height in zip(routed, heights, strict=True)
        ]

    def is_free(self, first: Point, second: Point, a: Box, b: Box) -> bool:
        """Return whether a straight line from box ``a`` to box ``b`` meets neither boxes nor the level inside."""
        if any(box.area.meets(first, second) for box in self.boxes if box not in (a, b)):
            return False
        return a.level != b.level or self.inner is None or not self.inner.grown(LANE).meets(first, second)

    def lane(self, a: Box, b: Box, level: int) -> float:
        """Return the height of the lowest free lane above two boxes, and take it."""
        height = max(a.y, b.y) + BOX_HEIGHT / 2 + ABOVE
        while not self.is_free((a.x, height), (b.x, height), a, b) or any(
            abs(height - other) < LANE * 0.9 and left < max(a.x, b.x) and min(a.x, b.x) < right
            for left, right, other, _ in self.lanes
        ):
            height += LANE
        self.lanes.append((min(a.x, b.x), max(a.x, b.x), height, level))
        return height

    def corners(
        self, a: Box, b: Box, height: float, routed: Sequence[tuple[Box, Box, bool]], heights: Sequence[float]
    ) -> tuple[Point, ...]:
        """Return the corners of a line in a lane. Lines of higher lanes leave and enter nearer to the middle."""
        leaving = sorted(other for (first, _, _), other in zip(routed, heights, strict=True) if first is a)
        entering = sorted(other for (_, second, _), other in zip(routed, heights, strict=True) if second is b)
        start = a.x + _port(leaving.index(height), len(leaving))
        end = b.x - _port(entering.index(height), len(entering))
        top = BOX_HEIGHT / 2
        return (start, a.y + top), (start, height), (end, height), (end, b.y + top)

    def frame(self, level: int, levels: int) -> Frame:
        """Return the frame around a level and the levels inside it, which later lines avoid."""
        inside = [box for box in self.boxes if box.level >= level]
        pad = 0.95 - 0.04 * level
        lanes = [height for _, _, height, own in self.lanes if own >= level]
        bottom = min(box.y for box in inside) - 0.85 - 0.14 * (levels - 1 - level)
        top = max([max(box.y for box in inside) + 0.62, *(height + 0.44 for height in lanes)])
        self.inner = Frame(inside[0].x - pad, inside[-1].x + pad, bottom, top)
        return self.inner


def _port(index: int, count: int) -> float:
    """Return the distance from the middle of a box of one of its lines, the lowest lane being the outermost one."""
    spacing = min(0.16, 0.5 / count)
    return 0.1 + spacing * (count - 1 - index)
