"""The cost card of an entry: identity and costs by level, printed as a tree or returned as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from registry.costs.card_tree import card_tree, cells
from registry.costs.memory import Memory, activation_memory
from registry.costs.sampling import SamplingCost
from registry.costs.totals import LevelCosts, Part, count
from registry.costs.units import short
from specs.blocks import Costs, Size
from specs.graph import STEPS as STEP_BLOCKS
from specs.graph import EntryGraph, LevelGraph, stage_sizes
from specs.html_table import html_table

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.tree import Tree

__all__ = ["Card", "LevelRow", "StageRow", "make_card"]

#: Parts that every stage has; not listed among the blocks of a stage.
UNLISTED = ("stem", "head", *STEP_BLOCKS)
#: FLOPs of the backward pass per FLOP of the forward pass: one product for the inputs' gradient, one for the weights'.
BACKWARD = 2
#: Denoising steps for which the cost of a generated sample is shown by default.
STEPS = 50


@dataclass(frozen=True, slots=True)
class StageRow:
    """Costs of one stage of a level: the blocks whose output has one size, or the level's embeddings.

    Attributes:
        name: Name of the stage, such as ``64 px``, ``64 px, 16 frames``, ``nest``, ``inputs`` or ``embeddings``.
        resolution: Side of the blocks' outputs in pixels; None for inputs and embeddings.
        frames: Frames of the blocks' outputs; None for inputs and embeddings.
        widths: Channels of the blocks, each width once.
        blocks: Kind of block and number of such blocks.
        parameters: Number of parameters.
        macs: MACs of one forward pass with its prompt.
        flops: FLOPs of the same.
    """

    name: str
    resolution: int | None
    frames: int | None
    widths: tuple[int, ...]
    blocks: tuple[tuple[str, int], ...]
    parameters: int
    macs: int
    flops: int


@dataclass(frozen=True, slots=True)
class LevelRow:
    """Costs of one level without its inner levels.

    Attributes:
        label: Label of the level, such as ``r64``.
        resolution: Side of its images in pixels.
        frames: Frames of its clips; 1 for images.
        graph_hash: Hash of the level with its inner levels.
        parameters: Number of parameters.
        macs: MACs of one forward pass with its prompt.
        flops: FLOPs of the same.
        step_flops: FLOPs of each further sampling step, when the prompt is already encoded.
        share: Fraction of the entry's FLOPs.
        memory: Activation memory of one sample.
        stages: Costs by stage.
    """

    label: str
    resolution: int
    frames: int
    graph_hash: str
    parameters: int
    macs: int
    flops: int
    step_flops: int
    share: float
    memory: Memory
    stages: tuple[StageRow, ...]

    @property
    def size(self) -> Size:
        """Side and frames of the level."""
        return Size(self.resolution, self.frames)


@dataclass(frozen=True, slots=True, repr=False)
class Card:
    """Identity of an entry and its costs for one sample; FLOPs are two per MAC.

    Attributes:
        name: Name of the entry.
        summary: One line about it.
        resolution: Side of its images in pixels.
        frames: Frames of its clips; 1 for images.
        hash: Hash of structure, inputs and diffusion process.
        graph_hash: Hash of structure and inputs.
        conditioning: Inputs in words.
        process: Diffusion process in words.
        parameters: Number of parameters.
        macs: MACs of one forward pass with its prompt.
        flops: FLOPs of the same.
        step_flops: FLOPs of a forward pass whose prompt is already encoded.
        training_flops: FLOPs of one training sample, forward and backward.
        memory: Activation memory of one sample.
        levels: Costs by level, outermost first.
        sampling: Cost of one generated sample, if sampler settings were passed.
    """

    name: str
    summary: str
    resolution: int
    frames: int
    hash: str
    graph_hash: str
    conditioning: str
    process: str
    parameters: int
    macs: int
    flops: int
    step_flops: int
    training_flops: int
    memory: Memory
    levels: tuple[LevelRow, ...]
    sampling: SamplingCost | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the card as plain data, for JSON."""
        return asdict(self)

    def sampling_flops(self, num_inference_steps: int, guided: bool = False) -> int:
        """Return the FLOPs of one generated sample, for a sampler that evaluates the network once per step.

        Args:
            num_inference_steps: Number of denoising steps.
            guided: Whether every step takes two passes, with the prompt and without.
        """
        return (2 if guided else 1) * (self.flops + (num_inference_steps - 1) * self.step_flops)

    def __repr__(self) -> str:
        return (
            f"<Card {self.name}: {self.parameters:,} parameters, {short(self.macs)}MACs, {short(self.flops)}FLOPs, "
            f"levels {', '.join(level.label for level in self.levels)}>"
        )

    def _repr_html_(self) -> str:
        rows = [("whole network", *cells(self, self))]
        rows += [(f"{level.label}, {level.size.short}", *cells(level, self)) for level in self.levels]
        note = f"{self.summary} Inputs: {self.conditioning}. Process: {self.process}. Hash {self.hash}.".strip()
        return html_table(self.name, ("", "parameters", "MACs", "FLOPs", "share"), rows, note)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Tree]:
        yield card_tree(self, STEPS, options.max_width, UNLISTED)


def make_card(graph: EntryGraph, sampling: SamplingCost | None = None) -> Card:
    """Return the card of a checked entry; nothing is built.

    Args:
        graph: Checked graph of the entry.
        sampling: Cost of one generated sample, to show on the card.
    """
    costs = count(graph)
    total = costs.total
    memory, by_level = activation_memory(graph)
    return Card(
        name=graph.name,
        summary=graph.summary,
        resolution=graph.resolution,
        frames=graph.frames,
        hash=graph.hash,
        graph_hash=graph.graph_hash,
        conditioning=_conditioning(graph),
        process=_process(graph),
        **_numbers(total),
        step_flops=2 * total.macs,
        training_flops=(1 + BACKWARD) * total.flops,
        memory=memory,
        levels=tuple(
            LevelRow(
                label=level.label,
                resolution=level.size.side,
                frames=level.size.frames,
                graph_hash=graph.graph_hashes[level.label],
                **_numbers(level.total),
                step_flops=2 * level.total.macs,
                share=level.total.flops / total.flops,
                memory=by_level[level.label],
                stages=_stage_rows(level, own),
            )
            for level, own in zip(costs.levels, graph.levels, strict=True)
        ),
        sampling=sampling,
    )


def _numbers(costs: Costs) -> dict[str, int]:
    return {"parameters": costs.parameters, "macs": costs.total_macs, "flops": costs.flops}


def _stage_rows(level: LevelCosts, graph: LevelGraph) -> tuple[StageRow, ...]:
    stages = stage_sizes(graph)
    groups: dict[tuple[str, Size | None], list[Part]] = {}
    for part in level.parts:
        size = stages.get(part.name, part.size)
        if part.block == "nest":
            name = "nest"
        elif size is not None:
            name = size.short
        else:
            name = "inputs" if part.block in ("text", "classes") else "embeddings"
        groups.setdefault((name, size), []).append(part)
    rows = []
    for (name, size), parts in groups.items():
        total = sum((part.costs for part in parts), start=Costs())
        blocks = Counter(part.block for part in parts)
        listed = [part for part in parts if part.block not in UNLISTED] or parts
        widths = tuple(sorted({part.width for part in listed}))
        side, frames = (None, None) if size is None else (size.side, size.frames)
        rows.append(StageRow(name, side, frames, widths, tuple(blocks.items()), **_numbers(total)))
    # Inputs and embeddings, then finest to coarsest; the nest comes last, since the inner level follows it.
    return tuple(sorted(rows, key=_order))


def _order(row: StageRow) -> tuple[bool, bool, int, int]:
    return row.name == "nest", row.resolution is not None, -(row.resolution or 0), -(row.frames or 0)


def _conditioning(graph: EntryGraph) -> str:
    kinds = []
    if graph.text is not None:
        projected = f" projected to {graph.text.project}" if graph.text.project else ""
        kinds.append(f"text ({graph.text.tokens} tokens of {graph.text.width}{projected})")
    if graph.classes is not None:
        kinds.append(f"{graph.classes} classes")
    names = dict.fromkeys(micro.name for level in graph.levels for micro in level.micro)
    return ", ".join([*kinds, *names]) or "none"


def _process(graph: EntryGraph) -> str:
    process = graph.process
    shift = f", shift {process.shift:g}" if len(graph.levels) > 1 or process.base else ""
    shift += f" from {process.base} pixels" if process.base else ""
    shift += ", shared noise" if process.noise == "shared" else ""
    shift += f", offset noise of {process.offset:g}" if process.offset else ""
    residual = "" if process.residual is None else f", residual of deviation {process.shown_residual}"
    return f"{process.schedule}, {process.steps} steps, {process.prediction} prediction{shift}{residual}"
