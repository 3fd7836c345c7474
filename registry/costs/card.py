"""The card of an entry: what it is and what it costs, by level, for people and for programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from registry.costs.memory import Memory, activation_memory
from registry.costs.sampling import SamplingCost
from registry.costs.totals import EntryCosts, LevelCosts, Part, count
from registry.costs.units import short, short_bytes
from specs.blocks import Costs
from specs.graph import EntryGraph

if TYPE_CHECKING:
    from rich.tree import Tree

__all__ = ["Card", "LevelRow", "StageRow", "make_card"]

#: Parts that every stage has, left out where stages are described by their blocks and widths.
UNTOLD = ("stem", "head", "down", "up")
#: The backward pass takes about twice the forward's FLOPs: one product for the inputs' gradient, one for the weights'.
BACKWARD = 2
#: What the tree quotes the costs of a generated sample for.
STEPS = 50


@dataclass(frozen=True, slots=True)
class StageRow:
    """Some parts of a level together: those whose output has ``resolution`` pixels a side, or its embeddings."""

    name: str
    resolution: int | None
    widths: tuple[int, ...]
    #: Kind of block to how many.
    blocks: tuple[tuple[str, int], ...]
    parameters: int
    macs: int
    flops: int


@dataclass(frozen=True, slots=True)
class LevelRow:
    """One level without the levels inside it. ``macs`` and ``flops`` include what is done once per prompt."""

    label: str
    resolution: int
    graph_hash: str
    parameters: int
    macs: int
    flops: int
    #: FLOPs at every further step of sampling, the prompt being encoded.
    step_flops: int
    #: Of the entry's FLOPs.
    share: float
    #: Bytes of activations of one sample in float32.
    memory: Memory
    stages: tuple[StageRow, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """An entry's identity and costs for one sample; FLOPs are two per MAC.

    ``macs`` and ``flops`` are those of one forward pass with its prompt; ``step_flops`` those of a forward pass whose
    prompt has been encoded before. ``training_flops`` are those of one training sample, forward and backward, and
    ``memory`` the bytes of its activations in float32.
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
    #: Of one generated sample, where it was asked for.
    sampling: SamplingCost | None = None

    def as_dict(self) -> dict[str, Any]:
        """The card as plain data, for JSON."""
        return asdict(self)

    def sampling_flops(self, num_inference_steps: int, guided: bool = False) -> int:
        """FLOPs of one generated sample; ``guided`` runs two passes a step, with the prompt and without.

        All samplers here (DDIM, DDPM, DPM-Solver++ 2M) evaluate the network once a step.
        """
        return (2 if guided else 1) * (self.flops + (num_inference_steps - 1) * self.step_flops)

    def __rich__(self) -> Tree:
        return _tree(self)


def make_card(graph: EntryGraph, sampling: SamplingCost | None = None) -> Card:
    """The card of a checked entry, and the cost of a sample where it is given; nothing is built."""
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
        parameters=total.parameters,
        macs=total.macs + total.encode_macs,
        flops=_flops(total),
        step_flops=2 * total.macs,
        training_flops=(1 + BACKWARD) * _flops(total),
        memory=memory,
        levels=tuple(_level_row(graph, costs, level, by_level[level.label]) for level in costs.levels),
        sampling=sampling,
    )


def _flops(costs: Costs) -> int:
    return 2 * (costs.macs + costs.encode_macs)


def _level_row(graph: EntryGraph, costs: EntryCosts, level: LevelCosts, memory: Memory) -> LevelRow:
    whole = _flops(costs.total)
    return LevelRow(
        label=level.label,
        resolution=level.resolution,
        graph_hash=graph.graph_hashes[level.label],
        parameters=level.total.parameters,
        macs=level.total.macs + level.total.encode_macs,
        flops=_flops(level.total),
        step_flops=2 * level.total.macs,
        share=_flops(level.total) / whole if whole else 0.0,
        memory=memory,
        stages=_stage_rows(level),
    )


def _stage_rows(level: LevelCosts) -> tuple[StageRow, ...]:
    groups: dict[tuple[str, int | None], list[Part]] = {}
    for part in level.parts:
        if part.block == "nest":
            key = ("nest", part.resolution)
        elif part.resolution is None:
            key = ("inputs" if part.block in ("text", "classes") else "embeddings", None)
        else:
            key = (f"{part.resolution} px", part.resolution)
        groups.setdefault(key, []).append(part)
    rows = []
    for (name, resolution), parts in groups.items():
        total = sum((part.costs for part in parts), start=Costs())
        blocks = Counter(part.block for part in parts)
        kept = [part for part in parts if part.block not in UNTOLD] or parts
        widths = tuple(sorted({part.width for part in kept}))
        macs = total.macs + total.encode_macs
        rows.append(StageRow(name, resolution, widths, tuple(blocks.items()), total.parameters, macs, 2 * macs))
    # Inputs and embeddings, then finest to coarsest; the nest stands at the end, where the next level follows.
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


def _tree(card: Card) -> Tree:
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text
    from rich.tree import Tree

    def line(depth: int, *cells: str, style: str = "") -> Table:
        # The tree indents by four columns a level; the first column gives them back, so that numbers line up.
        table = Table.grid(padding=(0, 1))
        table.add_column(width=52 - 4 * depth, no_wrap=True, overflow="ellipsis")
        for width in (13, 9, 9, 7):
            table.add_column(width=width, justify="right", no_wrap=True)
        table.add_row(*(Text(cell, style) for cell in cells))
        return table

    def numbers(row: Card | LevelRow | StageRow) -> tuple[str, ...]:
        share = f"{100 * row.flops / card.flops:.1f} %" if card.flops else ""
        return f"{row.parameters:,}", short(row.macs), short(row.flops), share

    summary = f"  {escape(card.summary)}" if card.summary else ""
    root = Tree(f"[bold]{escape(card.name)}[/]{summary}", guide_style="dim")
    root.add(f"[dim]inputs[/]   {escape(card.conditioning)}")
    root.add(f"[dim]process[/]  {escape(card.process)}")
    root.add(f"[dim]hash[/]     {card.hash}   [dim]graph[/] {card.graph_hash}")
    memory = card.memory
    root.add(
        f"[dim]memory[/]   activations of a sample, float32: inference {short_bytes(memory.inference)}, "
        f"training {short_bytes(memory.training)}, with checkpointing {short_bytes(memory.checkpointed)}"
    )
    root.add(f"[dim]FLOPs[/]    a training sample {short(card.training_flops)}, {_sampling(card)}")
    root.add(line(0, "", "parameters", "MACs", "FLOPs", "share", style="dim"))
    root.add(line(0, "whole network", *numbers(card), style="bold"))
    branch = root
    for depth, level in enumerate(card.levels):
        title = f"{level.label}  {level.resolution} x {level.resolution} pixels"
        branch = branch.add(line(depth, title, *numbers(level), style="bold cyan"))
        for stage in level.stages:
            branch.add(line(depth + 1, _stage_title(stage), *numbers(stage)))
    return root


def _sampling(card: Card) -> str:
    """What a generated sample costs, as it was asked for."""
    if card.sampling is not None:
        return f"a generated sample {short(card.sampling.flops)} ({card.sampling.title})"
    guided = card.sampling_flops(STEPS, guided=True)
    return f"a generated sample ({STEPS} steps) {short(card.sampling_flops(STEPS))}, with guidance {short(guided)}"


def _stage_title(stage: StageRow) -> str:
    if stage.name == "nest":
        return f"nest at {stage.resolution} px"
    blocks = [name if number == 1 else f"{number} {name}" for name, number in stage.blocks if name not in UNTOLD]
    if stage.resolution is None:
        return ", ".join(blocks)
    return f"{stage.name}, width {'/'.join(map(str, stage.widths))}: {', '.join(blocks)}"
