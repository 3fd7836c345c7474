"""Expand ``stages``: write out the nodes of a U-shaped level."""

from __future__ import annotations

import re
from collections import Counter
from itertools import zip_longest
from typing import Literal

from specs.blocks import BLOCKS, Size
from specs.errors import Problems, quote
from specs.passes.draft import NAME_RULE, NODE_NAME, Draft, LevelDraft, LevelWriter, Use
from specs.schemas.entry import LevelSpec, StageSpec
from specs.syntax.yaml_tree import Entry, Mapping, Scalar, value_at

__all__ = ["expand_stages"]

Merge = Literal["cat", "add", "mean"] | None
#: Blocks of each stage's units.
Units = dict[str, list[Use]]
#: Size of each stage, and the block that leads to the next stage.
Steps = dict[str, tuple[Size, Use | None]]

DEFAULT_MIDDLE = ("resnet", "attention", "resnet")


class _Stages(LevelWriter):
    """Writes the nodes of a level: the way down, the bottom and the way up."""

    def __init__(self, level: LevelSpec, tree: Mapping, problems: Problems) -> None:
        super().__init__(level, tree, problems)
        assert level.stages is not None
        self.stages = level.stages
        self.current, self.width = "stem", next(iter(self.stages.values())).width
        self.skips: list[tuple[str, int]] = [("stem", self.width)]

    def implied(self, block: str, *path: str | int, **args: int) -> Use | None:
        """Return a block that a short form at ``path`` implies."""
        position = self.position(*path)
        values: dict[str, str | int] = {"block": block, **args}
        return self.use(
            Mapping({key: Entry(position, Scalar(value, position)) for key, value in values.items()}, position)
        )

    def unit(self, name: str, stage: StageSpec) -> list[Use | None]:
        """Return the blocks of a stage's units."""
        if stage.blocks is not None:
            return [self.use(value_at(self.tree, "stages", name, "blocks", i)) for i in range(len(stage.blocks))]
        blocks = [self.implied("resnet", "stages", name, "width")]
        if stage.attention:
            blocks += [self.implied("attention", "stages", name, "attention")] * stage.attention
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

    def steps(self) -> Steps:
        """Return the size of each stage and the block that leads to the next stage."""
        size, result = self.level.size, {}
        names = list(self.stages)
        for name, following in zip_longest(names, names[1:]):
            self.check_name(name, size)
            step = None if following is None else self.step(name, self.stages[name])
            if following is None and self.stages[name].down is not None:
                message = f"stage {quote(name)} is the last one, so it cannot have 'down'"
                self.error("misplaced", message, "stages", name, "down", key=True)
            result[name] = (size, step)
            if step is not None:
                size = self.next_size(name, following, step, size)
        return result

    def step(self, name: str, stage: StageSpec) -> Use | None:
        """Return the block that leads from a stage to the next one."""
        down = value_at(self.tree, "stages", name, "down")
        if stage.down is None:
            return self.implied("down", "stages", name)
        if isinstance(down, Mapping):
            return self.use(down)
        factor = stage.down.others["factor"]
        if not 2 <= factor <= 16:
            self.error("out-of-range", f"'down' must be from 2 to 16, not {factor}", "stages", name, "down")
            return None
        return self.implied("down", "stages", name, "down", factor=factor)

    def next_size(self, name: str, following: str, step: Use, size: Size) -> Size:
        """Check a step and return the size of the stage that it leads to."""
        block = BLOCKS[step.block]
        args = block.arguments(step.args)
        complaints = block.check(args, self.width, self.width, size)
        for code, message in complaints:
            self.error(code, f"stage {quote(name)}: {message}", "stages", following, key=True)
        result = block.output_size(args, size)
        if not complaints and not _is_step(size, result):
            message = f"stage {quote(name)}: 'down' must divide the resolution by 2 to 16, but {step.block} does not"
            self.problems.add("bad-resolution", message, step.position)
        return result

    def check_name(self, name: str, size: Size) -> None:
        """Check the name of a stage, and that a stage called rN has N pixels."""
        if not NODE_NAME.fullmatch(name):
            self.error("bad-name", f"stage {quote(name)}: {NAME_RULE}", "stages", name, key=True)
        match = re.fullmatch(r"r(\d+)", name)
        if match and int(match[1]) != size.side:
            message = f"stage {quote(name)} has {size}; call it 'r{size.side}'"
            self.error("bad-resolution", message, "stages", name, key=True)

    def expand(self) -> LevelDraft | None:
        """Return the draft of the level, or None if there are errors."""
        before = len(self.problems)
        found = {name: self.unit(name, stage) for name, stage in self.stages.items()}
        total = sum((2 * stage.depth + 1) * len(found[name]) for name, stage in self.stages.items())
        if not self.check_size(total, "stages"):
            return None
        steps, middle = self.steps(), self.middle()
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
        """Add units and downsampling blocks; each leaves a skip."""
        for name, stage in self.stages.items():
            for index in range(stage.depth):
                self.add_unit(f"{name}_down{index}", units[name], stage.width, (self.current,))
                self.skips.append((self.current, self.width))
            step = steps[name][1]
            if step is not None:
                self.add(f"{name}_downsample", step, self.width, (self.current,))
                self.skips.append((self.current, self.width))

    def middle(self) -> list[Use | None]:
        """Return the blocks at the coarsest stage of an innermost level."""
        if self.level.nest is not None:
            return []
        if self.level.middle is not None:
            return [self.use(value_at(self.tree, "middle", index)) for index in range(len(self.level.middle))]
        return [self.implied(block, "stages", list(self.stages)[-1]) for block in DEFAULT_MIDDLE]

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
                factor = steps[finer][0].side // steps[name][0].side
                up = self.implied("up", "stages", name, factor=factor)
                if up is not None:
                    self.add(f"{name}_upsample", up, self.width, (self.current,))

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


def _is_step(size: Size, result: Size) -> bool:
    """Return whether a step from one size to another divides the side by a whole number from 2 to 16."""
    return result.side >= 1 and size.side % result.side == 0 and 2 <= size.side // result.side <= 16


def expand_stages(level: LevelSpec, tree: Mapping, problems: Problems) -> LevelDraft | None:
    """Return the nodes that a level's ``stages`` and ``middle`` stand for, or None if there are errors.

    Nodes are called ``{stage}_down{i}_{block}``, ``{stage}_downsample``, ``middle{i}_{block}`` or ``nest``,
    ``{stage}_up{i}_{block}`` and ``{stage}_upsample``. Blocks of the same type within a unit are numbered.
    """
    return _Stages(level, tree, problems).expand()
