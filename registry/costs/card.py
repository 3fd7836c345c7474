"""The cost card of an entry: identity and costs by level, printed as a tree or returned as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from registry.costs.memory import Memory, activation_memory
from registry.costs.sampling import SamplingCost
from registry.costs.totals import LevelCosts, Part, count
from registry.costs.units import short, short_bytes
from specs.blocks import Costs, Size
from specs.graph import EntryGraph
from specs.html_table import html_table

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table
    from rich.tree import Tree

__all__ = ["Card", "LevelRow", "StageRow", "make_card"]

#: Parts that every stage has; not listed among the blocks of a stage.
UNLISTED = ("stem", "head", "down", "up")
#: FLOPs of the backward pass per FLOP of the forward pass: one product for the inputs' gradient, one for the weights'.
BACKWARD = 2
#: Width of the guides of the tree, per depth.
INDENT = 4
#: Denoising steps for which the cost of a generated sample is shown by default.
STEPS = 50


@dataclass(frozen=True, slots=True)
class StageRow:
    """Costs of one stage of a level: the blocks whose output has one resolution, or the level's embeddings.

    Attributes:
        name: Name of the stage, such as ``64 px``, ``nest``, ``inputs`` or ``embeddings``.
        resolution: Side of the blocks' outputs in pixels; None for inputs and embeddings.
        widths: Channels of the blocks, each width once.
        blocks: Kind of block and number of such blocks.
        parameters: Number of parameters.
        macs: MACs of one forward pass with its prompt.
        flops: FLOPs of the same.
    """

    name: str
    resolution: int | None
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
    graph_hash: str
    parameters: int
    macs: int
    flops: int
    step_flops: int
    share: float
    memory: Memory
    stages: tuple[StageRow, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Card:
    """Identity of an entry and its costs for one sample; FLOPs are two per MAC.

    Attributes:
        name: Name of the entry.
        summary: One line about it.
        resolution: Side of its images in pixels.
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
        rows = [("whole network", *_cells(self, self))]
        rows += [(f"{level.label}, {level.resolution} px", *_cells(level, self)) for level in self.levels]
        note = f"{self.summary} Inputs: {self.conditioning}. Process: {self.process}. Hash {self.hash}.".strip()
        return html_table(self.name, ("", "parameters", "MACs", "FLOPs", "share"), rows, note)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Tree]:
        yield _tree(self, options.max_width)


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
                resolution=level.resolution,
                graph_hash=graph.graph_hashes[level.label],
                **_numbers(level.total),
                step_flops=2 * level.total.macs,
                share=level.total.flops / total.flops,
                memory=by_level[level.label],
                stages=_stage_rows(level),
            )
            for level in costs.levels
        ),
        sampling=sampling,
    )


def _numbers(costs: Costs) -> dict[str, int]:
    return {"parameters": costs.parameters, "macs": costs.total_macs, "flops": costs.flops}


def _stage_rows(level: LevelCosts) -> tuple[StageRow, ...]:
    groups: dict[tuple[str, Size | None], list[Part]] = {}
    for part in level.parts:
        if part.block == "nest":
            name = "nest"
        elif part.size is not None:
            name = part.size.short
        else:
            name = "inputs" if part.block in ("text", "classes") else "embeddings"
        groups.setdefault((name, part.size), []).append(part)
    rows = []
    for (name, size), parts in groups.items():
        total = sum((part.costs for part in parts), start=Costs())
        blocks = Counter(part.block for part in parts)
        listed = [part for part in parts if part.block not in UNLISTED] or parts
        widths = tuple(sorted({part.width for part in listed}))
        resolution = None if size is None else size.side
        rows.append(StageRow(name, resolution, widths, tuple(blocks.items()), **_numbers(total)))
    # Inputs and embeddings, then finest to coarsest; the nest comes last, since the inner level follows it.
    return tuple(sorted(rows, key=lambda row: (row.name == "nest", row.resolution is not None, -(row.resolution or 0))))


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
    shift = f", shift {process.shift:g}" if len(graph.levels) > 1 else ""
    return f"{process.schedule}, {process.steps} steps, {process.prediction} prediction{shift}"


def _tree(card: Card, width: int) -> Tree:  # pragma: no mutate block
    from rich.markup import escape
    from rich.tree import Tree

    memory, sampling = card.memory, card.sampling
    if sampling is not None:
        sample = f"{short(sampling.flops)} ({sampling.title})"
    else:
        plain, guided = (short(card.sampling_flops(STEPS, guided)) for guided in (False, True))
        sample = f"({STEPS} steps) {plain}, with guidance {guided}"
    summary = f"  {escape(card.summary)}" if card.summary else ""
    root = Tree(f"[bold]{escape(card.name)}[/]{summary}", guide_style="dim")
    root.add(f"[dim]inputs[/]   {escape(card.conditioning)}")
    root.add(f"[dim]process[/]  {escape(card.process)}")
    root.add(f"[dim]hash[/]     {card.hash}   [dim]graph[/] {card.graph_hash}")
    root.add(
        f"[dim]memory[/]   activations per sample, float32: inference {short_bytes(memory.inference)}, "
        f"training {short_bytes(memory.training)}, with checkpointing {short_bytes(memory.checkpointed)}"
    )
    root.add(f"[dim]FLOPs[/]    per training sample {short(card.training_flops)}, per generated sample {sample}")
    line = partial(_line, width)
    root.add(line(0, ("", "parameters", "MACs", "FLOPs", "share"), "dim"))
    root.add(line(0, ("whole network", *_cells(card, card)), "bold"))
    branch = root
    for depth, level in enumerate(card.levels):
        title = f"{level.label}  {level.resolution} x {level.resolution} pixels"
        branch = branch.add(line(depth, (title, *_cells(level, card)), "bold cyan"))
        for stage in level.stages:
            branch.add(line(depth + 1, (_stage_title(stage), *_cells(stage, card))))
    return root


def _line(width: int, depth: int, cells: Sequence[str], style: str = "") -> Table:  # pragma: no mutate block
    """Return one line of the tree; its first column shrinks with the indent of its depth, so that numbers line up.

    A narrow terminal has no room for the MACs, which are half of the FLOPs.
    """
    from rich.table import Table
    from rich.text import Text

    title, parameters, macs, flops, share = (Text(cell, style) for cell in cells)
    numbers = [(parameters, 13), (macs, 9), (flops, 9), (share, 7)]
    if width < 98:
        numbers = [(parameters, 11), (flops, 8), (share, 7)]
    table = Table.grid(padding=(0, 1))
    taken = sum(column + 1 for _, column in numbers) + INDENT * (depth + 1)
    table.add_column(width=max(20, min(52 - INDENT * depth, width - taken)))
    for _, column in numbers:
        table.add_column(width=column, justify="right", no_wrap=True)
    table.add_row(title, *(number for number, _ in numbers))
    return table


def _cells(row: Card | LevelRow | StageRow, card: Card) -> tuple[str, ...]:
    return f"{row.parameters:,}", short(row.macs), short(row.flops), f"{100 * row.flops / card.flops:.1f} %"


def _stage_title(stage: StageRow) -> str:
    if stage.name == "nest":
        return f"nest at {stage.resolution} px"
    blocks = [name if number == 1 else f"{number} {name}" for name, number in stage.blocks if name not in UNLISTED]
    if stage.resolution is None:
        return ", ".join(blocks)
    return f"{stage.name}, width {'/'.join(map(str, stage.widths))}: {', '.join(blocks)}"
