"""The explicit graph of an entry, in which every short form of the language is expanded.

The passes of ``specs`` return an :class:`EntryGraph`. Costs, networks and training read only this graph. Its classes
are frozen, hashable and free of torch.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from specs.blocks import BLOCKS, Scene, Size
from specs.html_table import html_table

if TYPE_CHECKING:
    from specs.errors import Position

__all__ = [
    "FRAME_RATE",
    "STEPS",
    "EntryGraph",
    "LevelGraph",
    "MicroInput",
    "Node",
    "Prediction",
    "Process",
    "TextInput",
    "input_channels",
    "shapes",
    "stage_sizes",
]

#: What networks predict: v, the noise, the clean image, or the flow, which is the noise minus the image.
Prediction = Literal["v", "eps", "x", "flow"]
#: Names of a level's fixed nodes, which its blocks may not use.
RESERVED = ("stem", "nest", "head")
#: Default of the micro input ``frame_rate``, in frames a second, which networks read as 1.
FRAME_RATE = 30.0


@dataclass(frozen=True, slots=True)
class Node:
    """One block of a level: its type, arguments, inputs and output channels."""

    name: str
    block: str
    width: int
    #: Arguments that differ from the block's defaults, sorted by name.
    args: tuple[tuple[str, Any], ...]
    inputs: tuple[str, ...]
    merge: Literal["cat", "add", "mean"] | None = None
    position: Position | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class MicroInput:
    """A number per sample that is added to the time embedding; ``default`` is used if it is omitted."""

    name: str
    default: float


@dataclass(frozen=True, slots=True, repr=False)
class LevelGraph:
    """One size of an entry: images, or clips of ``frames`` frames.

    ``nodes`` are its blocks in topological order, without stem and head.
    """

    label: str
    resolution: int
    stem_width: int
    nodes: tuple[Node, ...]
    #: Node whose output is the level's feature map, which the head reads and an outer level receives.
    head: str
    head_groups: int = 32
    normalize_input: Literal["auto"] | bool = "auto"
    micro: tuple[MicroInput, ...] = ()
    channels: int = 3
    frames: int = 1

    @property
    def size(self) -> Size:
        """Size of the level's images or clips."""
        return Size(self.resolution, self.frames)

    @property
    def feature_width(self) -> int:
        """Channels of the level's feature map."""
        return next((node.width for node in self.nodes if node.name == self.head), self.stem_width)

    def __repr__(self) -> str:
        return f"<LevelGraph {self.label}: {self.size.short}, {len(self.nodes)} nodes>"

    @property
    def nests(self) -> bool:
        """Whether the level contains another level."""
        return any(node.block == "nest" for node in self.nodes)


@dataclass(frozen=True, slots=True)
class TextInput:
    """Token states of a text encoder, ``(batch, tokens, width)``, projected once for all levels."""

    width: int
    tokens: int
    project: int | None = None
    self_attention: int = 0
    mask_attention: bool = False
    pool: bool = True

    @property
    def inner_width(self) -> int:
        """Width of the token states that attention blocks read."""
        return self.project or self.width


@dataclass(frozen=True, slots=True)
class Process:
    """The diffusion process of an entry.

    A level whose side is ``s`` times that of the innermost level, or ``base`` pixels, uses SNR / s^shift.
    """

    schedule: Literal["cosine", "linear", "cosine_logsnr"] = "cosine"
    steps: int = 1000
    prediction: Prediction = "v"
    shift: float = 1.0
    #: Side in pixels, of one frame, that levels are compared with. None for the size of the innermost level.
    base: int | None = None
    #: Whether the noise of a level is drawn for itself, or is what it sees of the noise of the level around it.
    noise: Literal["independent", "shared"] = "independent"
    #: Standard deviation of the constant that is added to the noise of each channel.
    offset: float = 0.0
    #: Standard deviation of the residual that outer levels predict, or (label, deviation) of those that predict one.
    residual: float | tuple[tuple[str, float], ...] | None = None

    def residual_of(self, label: str) -> float | None:
        """Return the standard deviation of the residual that a level predicts, or None if it predicts the image."""
        return dict(self.residual).get(label) if isinstance(self.residual, tuple) else self.residual

    @property
    def shown_residual(self) -> str:
        """The residual in words: a deviation, or those of levels; empty without one."""
        if isinstance(self.residual, tuple):
            return ", ".join(f"{label} {deviation:g}" for label, deviation in self.residual)
        return "" if self.residual is None else f"{self.residual:g}"


@dataclass(frozen=True, repr=False)
class EntryGraph:
    """A whole entry. ``levels`` start with the outermost one, which has the most pixels and frames."""

    name: str
    levels: tuple[LevelGraph, ...]
    time_width: int
    summary: str = ""
    text: TextInput | None = None
    classes: int | None = None
    process: Process = Process()

    @property
    def conditions(self) -> tuple[str, ...]:
        """Conditions of the entry: "text", "classes", both or none."""
        return tuple(kind for kind in ("text", "classes") if getattr(self, kind) is not None)

    @property
    def resolution(self) -> int:
        """Side length of the outermost level in pixels."""
        return self.levels[0].resolution

    @property
    def frames(self) -> int:
        """Frames of the outermost level; 1 if it generates images."""
        return self.levels[0].frames

    @property
    def size(self) -> Size:
        """Size of the outermost level."""
        return self.levels[0].size

    @property
    def noise_ratios(self) -> tuple[float, ...]:
        """Ratio of each level's size to the innermost one, or to ``process.base``, which noise schedules depend on."""
        base = Size(self.process.base) if self.process.base else self.levels[-1].size
        return tuple(level.size.ratio(base) for level in self.levels)

    @property
    def noise_correlations(self) -> tuple[float, ...]:
        """Correlation of the noise of each inner level with that of the level around it, averaged, if they share it.

        Its square is how many times lower the signal-to-noise ratio of the inner level is; above 1, they cannot share.
        """
        pairs = list(pairwise(level.size for level in self.levels))
        return tuple(
            math.sqrt(outer.ratio(inner) ** self.process.shift) * inner.side / outer.side for outer, inner in pairs
        )

    @property
    def is_video(self) -> bool:
        """Whether any level has more than one frame."""
        return any(level.frames > 1 for level in self.levels)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the levels, outermost first."""
        return tuple(level.label for level in self.levels)

    @property
    def scene(self) -> Scene:
        """The widths that every block of the entry depends on."""
        if self.text is None:
            return Scene(self.time_width)
        return Scene(self.time_width, self.text.inner_width, self.text.tokens)

    def __repr__(self) -> str:
        return f"<EntryGraph {self.name}: {self.size.short}, levels {', '.join(self.labels)}, hash {self.hash}>"

    def _repr_html_(self) -> str:
        rows = []
        for level in self.levels:
            kinds = Counter(node.block for node in level.nodes)
            blocks = ", ".join(name if number == 1 else f"{number} {name}" for name, number in kinds.items())
            rows.append((level.label, level.size.short, len(level.nodes), blocks))
        return html_table(
            f"{self.name}, hash {self.hash}",
            ("level", "size" if self.is_video else "resolution", "nodes", "blocks"),
            rows,
            self.summary,
        )

    def inner(self, label: str) -> EntryGraph:
        """Return a level and all levels inside it as an entry.

        Args:
            label: Label of the level, such as ``r64``.

        Raises:
            ValueError: The entry has no such level.
        """
        if label not in self.labels:
            raise ValueError(f"{self.name} has no level {label}; its levels are {', '.join(self.labels)}")
        return replace(self, levels=self.levels[self.labels.index(label) :])

    @cached_property
    def graph_hashes(self) -> Mapping[str, str]:
        """Hash of each level with all levels inside it: structure, inputs and the width of the time embedding."""
        levels = [canonical_level(level) for level in self.levels]
        inputs = {"time": self.time_width, **canonical_inputs(self)}
        return {label: _digest({"levels": levels[i:], "inputs": inputs}) for i, label in enumerate(self.labels)}

    @property
    def graph_hash(self) -> str:
        """Hash of structure and inputs. Weights fit any entry with the same hash."""
        return self.graph_hashes[self.levels[0].label]

    @cached_property
    def hash(self) -> str:
        """Hash of structure, inputs and diffusion process."""
        return _digest({"graph": self.graph_hash, "process": changed_fields(self.process)})


def input_channels(node: Node, channels: Mapping[str, int]) -> int:
    """Return the input channels of a node after merging, from the channels of the nodes that it reads."""
    widths = [channels[name] for name in node.inputs]
    return sum(widths) if node.merge == "cat" else widths[0]


def shapes(level: LevelGraph) -> dict[str, tuple[int, Size]]:
    """Return ``(channels, size)`` of the stem and every node of a checked level."""
    result = {"stem": (level.stem_width, level.size)}
    for node in level.nodes:
        size = result[node.inputs[0]][1]
        if node.block != "nest":
            block = BLOCKS[node.block]
            size = block.output_size(block.arguments(node.args), size)
        result[node.name] = (node.width, size)
    return result


#: Blocks that lead from one stage to the next.
STEPS = ("down", "up", "time_down", "time_up")


def stage_sizes(level: LevelGraph) -> dict[str, Size]:
    """Return the size of the stage that the stem and every node of a checked level belong to.

    It is the size of their output. The first node of a step in both pixels and frames, whose output only the second one
    reads, belongs to the stage that both lead to.
    """
    sizes = {name: size for name, (_, size) in shapes(level).items()}
    readers: dict[str, list[Node]] = {}
    for node in level.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    for node in level.nodes:
        reader = readers.get(node.name, [])
        if len(reader) == 1 and node.name != level.head and {node.block, reader[0].block} <= set(STEPS):
            in_time = [BLOCKS[block].temporal for block in (node.block, reader[0].block)]
            if in_time in ([False, True], [True, False]):
                sizes[node.name] = sizes[reader[0].name]
    return sizes


HASH_LENGTH = 16


def canonical_level(level: LevelGraph) -> dict[str, Any]:
    """Return a level as plain data without its defaults. Nodes are keyed by name: their order does not matter."""
    result = {
        "label": level.label,
        "resolution": level.resolution,
        "stem": level.stem_width,
        "nodes": {node.name: _node(node) for node in level.nodes},
        "head": level.head,
        **changed_fields(level, "head_groups", "normalize_input", "channels", "frames"),
    }
    if level.micro:
        result["micro"] = {micro.name: float(micro.default) for micro in level.micro}
    return result


def _node(node: Node) -> dict[str, Any]:
    result: dict[str, Any] = {"block": node.block, "width": node.width, "from": list(node.inputs)}
    if node.args:
        result["args"] = dict(node.args)
    if node.merge:
        result["merge"] = node.merge
    return result


def changed_fields(value: TextInput | Process | LevelGraph, *names: str) -> dict[str, Any]:
    """Return the fields of a dataclass, all or those named, that differ from their defaults."""
    defaults = {field.name: field.default for field in fields(value) if not names or field.name in names}
    return {name: getattr(value, name) for name, default in defaults.items() if getattr(value, name) != default}


def canonical_inputs(graph: EntryGraph) -> dict[str, Any]:
    """Return the inputs of an entry as plain data without their defaults."""
    inputs: dict[str, Any] = {}
    if graph.text is not None:
        inputs["text"] = changed_fields(graph.text)
    if graph.classes is not None:
        inputs["classes"] = graph.classes
    return inputs


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]
