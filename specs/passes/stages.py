"""Expand ``stages``: write out the nodes of a U-shaped level."""

from __future__ import annotations

from collections import Counter
from itertools import zip_longest
from typing import Literal

from specs.blocks import Size
from specs.errors import Problems
from specs.passes.draft import Draft, LevelDraft, Use
from specs.passes.stage_steps import Steps, StepWriter
from specs.schemas.entry import LevelSpec, StageSpec
from specs.syntax.yaml_tree import Mapping, value_at

__all__ = ["expand_stages"]

Merge = Literal["cat", "add", "mean"] | None
#: Blocks of each stage's units.
Units = dict[str, list[Use]]

DEFAULT_MIDDLE = ("resnet", "attention", "resnet")
#: Where the coarsest stage has several frames: attention over all frames is cheapest there.
DEFAULT_VIDEO_MIDDLE = ("resnet", "attention", "temporal_attention", "resnet")


class _Stages(StepWriter):
    """Writes the nodes of a level: the way down, the bottom and the way up."""

    def __init__(self, level: LevelSpec, tree: Mapping, problems: Problems) -> None:
        super().__init__(level, tree, problems)
        assert level.stages is not None
        self.stages = level.stages
        self.current, self.width = "stem", next(iter(self.stages.values())).width
        self.skips: list[tuple[str, int]] = [("stem", self.width)]

    def unit(self, name: str, stage: StageSpec) -> list[Use | None]:
        """Return the blocks of a stage's units."""
        if stage.blocks is not None:
            return [self.use(value_at(self.tree, "stages", name, "blocks", i)) for i in range(len(stage.blocks))]
        blocks = [self.implied("resnet", "stages", name, "width")]
        if stage.attention:
            blocks += [self.implied("attention", "stages", name, "attention")] * stage.attention
        if stage.temporal:
            blocks += [self.implied("temporal_attention", "stages", name, "temporal")] * stage.temporal
        return blocks

    def add(self, name: str, use: Use, width: int, inputs: tuple[str, ...], merge: Merge = None) -> None:
        """Add a node and make it the current one."""
        self.nodes.append(Draft(name, use.block, width, use.args, inputs, merge, use.position))
        self.current, self.width = name, width

    def add_unit(self, prefix: str, uses: list[Use], width: int, inputs: tuple[str, ...], merge: Merge = None) -> None:
        """Add the blocks of a unit in sequence; the first one reads ``inputs``."""
        counts, seen = Counter(use.block for use in uses), Counter[str]()
        for use in uses:
            number = str(seen[use.block]) if counts[use.block] > 1 else ""
            seen[use.block] += 1
            self.add(f"{prefix}_{use.block}{number}", use, width, inputs, merge)
            inputs, merge = (self.current,), None

    def expand(self) -> LevelDraft | None:
        """Return the draft of the level, or None if there are errors."""
        before = len(self.problems)
        found = {name: self.unit(name, stage) for name, stage in self.stages.items()}
        total = sum((2 * stage.depth + 1) * len(found[name]) for name, stage in self.stages.items())
        if not self.check_size(total, "stages"):
            return None
        steps = self.steps()
        middle = self.middle(steps)
        if len(self.problems) > before:
            return None
        units = {name: [use for use in uses if use is not None] for name, uses in found.items()}
        stem_width = self.width
        self.way_down(units, steps)
        self.bottom([use for use in middle if use is not None])
        self.way_up(units, steps)
        return LevelDraft(
            self.level.size,
            stem_width,
            tuple(self.nodes),
            self.current,
            self.level.head.groups,
            self.tree.position,
            self.position("stages", key=True),
        )

    def way_down(self, units: Units, steps: Steps) -> None:
        """Add units and steps to the next stage; each leaves a skip."""
        for name, stage in self.stages.items():
            for index in range(stage.depth):
                self.add_unit(f"{name}_down{index}", units[name], stage.width, (self.current,))
                self.skips.append((self.current, self.width))
            step = steps[name][1]
            for end, use in step.items():
                self.add(f"{name}_{end}", use, self.width, (self.current,))
            if step:
                self.skips.append((self.current, self.width))

    def middle(self, steps: Steps) -> list[Use | None]:
        """Return the blocks at the coarsest stage of an innermost level."""
        if self.level.nest is not None:
            return []
        if self.level.middle is not None:
            return [self.use(value_at(self.tree, "middle", index)) for index in range(len(self.level.middle))]
        coarsest = list(self.stages)[-1]
        blocks = DEFAULT_MIDDLE if steps[coarsest][0].frames == 1 else DEFAULT_VIDEO_MIDDLE
        return [self.implied(block, "stages", coarsest) for block in blocks]

    def bottom(self, middle: list[Use]) -> None:
        """Add the middle blocks, or the nested level."""
        if self.level.nest is not None:
            self.add("nest", Use("nest", (), self.position("nest", key=True)), self.width, (self.current,))
        for index, use in enumerate(middle):
            self.add(f"middle{index}_{use.block}", use, self.width, (self.current,))

    def way_up(self, units: Units, steps: Steps) -> None:
        """Add units, each of which takes a skip, and upsampling blocks."""
        names = list(reversed(self.stages))
        for name, finer in zip_longest(names, names[1:]):
            stage = self.stages[name]
            for index in range(stage.depth + 1):
                inputs, merge = self.take_skip(f"{name}_up{index}", stage.skip or self.level.skip)
                self.add_unit(f"{name}_up{index}", units[name], stage.width, inputs, merge)
            if finer is not None:
                self.step_up(name, steps[name][0], steps[finer][0])

    def step_up(self, name: str, coarse: Size, fine: Size) -> None:
        """Add the blocks that lead to the next finer stage, frames first."""
        for block, end, factor in (
            ("time_up", "time_upsample", fine.frames // coarse.frames),
            ("up", "upsample", fine.side // coarse.side),
        ):
            use = self.implied(block, "stages", name, factor=factor) if factor > 1 else None
            if use is not None:
                self.add(f"{name}_{end}", use, self.width, (self.current,))

    def take_skip(self, prefix: str, mode: str) -> tuple[tuple[str, ...], Merge]:
        """Return the inputs of a unit on the way up and how to merge them."""
        skip, width = self.skips.pop()
        if mode == "none":
            return (self.current,), None
        if mode == "cat":
            return (self.current, skip), "cat"
        if width != self.width:
            position = self.position("stages", key=True)
            self.nodes.append(Draft(f"{prefix}_skip", "conv", self.width, (("kernel", 1),), (skip,), None, position))
            skip = f"{prefix}_skip"
        return (self.current, skip), "add"


def expand_stages(level: LevelSpec, tree: Mapping, problems: Problems) -> LevelDraft | None:
    """Return the nodes that a level's ``stages`` and ``middle`` stand for, or None if there are errors.

    Nodes are called ``{stage}_down{i}_{block}``, ``{stage}_downsample``, ``middle{i}_{block}`` or ``nest``,
    ``{stage}_up{i}_{block}`` and ``{stage}_upsample``. Blocks of the same type within a unit are numbered. Steps in
    time are called ``{stage}_time_downsample`` and ``{stage}_time_upsample``.
    """
    return _Stages(level, tree, problems).expand()
