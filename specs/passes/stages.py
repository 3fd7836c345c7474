"""The U-shaped short form written out as nodes."""

from __future__ import annotations

import re
from collections import Counter
from typing import Literal

from specs.blocks import BLOCKS
from specs.errors import Position, Problems, quote
from specs.passes.draft import Draft, LevelDraft, Use, read_use
from specs.schemas.entry import LevelSpec, StageSpec
from specs.syntax.yaml_tree import Mapping, Scalar, Sequence, Tree, locate

__all__ = ["expand_stages"]

STAGE_NAME = re.compile(r"[a-z][a-z0-9_]*")
Merge = Literal["cat", "add", "mean"] | None
#: The blocks of each stage's units, and for each stage its resolution and the block that leads on.
Units = dict[str, list[Use]]
Steps = dict[str, tuple[int, Use | None]]

DEFAULT_MIDDLE = ("resnet", "attention", "resnet")
#: Nodes of a level; a spec that describes more is refused before it is written out.
MAX_NODES = 20_000


class _Stages:
    """Writes one level's nodes, following the way down, the bottom and the way up."""

    def __init__(self, level: LevelSpec, tree: Mapping, problems: Problems) -> None:
        assert level.stages is not None
        self.level, self.tree, self.problems = level, tree, problems
        self.stages = level.stages
        defaults = tree.get("defaults")
        self.defaults = defaults if isinstance(defaults, Mapping) else None
        self.nodes: list[Draft] = []
        self.current, self.width = "stem", next(iter(self.stages.values())).width
        self.skips: list[tuple[str, int]] = [("stem", self.width)]

    def position(self, *path: str | int, key: bool = False) -> Position:
        """Where a part of the level is written."""
        return locate(self.tree, *path, key=key)

    def use(self, *path: str | int) -> Use | None:
        """The block use written at ``path``."""
        tree: Tree | None = self.tree
        for step in path:
            tree = tree.items[step] if isinstance(tree, Sequence) else tree.get(step)  # type: ignore[union-attr,index,arg-type]
        return None if tree is None else read_use(tree, self.defaults, self.problems)

    def named(self, block: str, *path: str | int) -> Use | None:
        """A block that a short form implies, as if it stood at ``path``."""
        return read_use(Scalar(block, self.position(*path)), self.defaults, self.problems)

    def unit(self, name: str, stage: StageSpec) -> list[Use | None]:
        """The blocks of a stage's units."""
        if stage.blocks is not None:
            return [self.use("stages", name, "blocks", index) for index in range(len(stage.blocks))]
        blocks = [self.named("resnet", "stages", name, "width")]
        if stage.attention:
            blocks += [self.named("attention", "stages", name, "attention")] * stage.attention
        return blocks

    def add(self, name: str, use: Use, width: int, inputs: tuple[str, ...], merge: Merge = None) -> None:
        """Write a node and make it the current one."""
        self.nodes.append(Draft(name, use.block, width, use.args, inputs, merge, use.position))
        self.current, self.width = name, width

    def add_unit(self, prefix: str, uses: list[Use], width: int, inputs: tuple[str, ...], merge: Merge = None) -> None:
        """Write the blocks of a unit one after the other; the first one reads ``inputs``."""
        counts, seen = Counter(use.block for use in uses), Counter[str]()
        for use in uses:
            number = str(seen[use.block]) if counts[use.block] > 1 else ""
            seen[use.block] += 1
            self.add(f"{prefix}_{use.block}{number}", use, width, inputs, merge)
            inputs, merge = (self.current,), None

    def steps(self) -> dict[str, tuple[int, Use | None]]:
        """For each stage its resolution and the block that leads to the next one."""
        resolution, result = self.level.resolution, {}
        names = list(self.stages)
        for name, stage in self.stages.items():
            self.check_name(name, resolution)
            last = name == names[-1]
            step = None
            if last and stage.down is not None:
                message = f"stage {quote(name)} is the last one and has no next to go down to"
                self.problems.add("misplaced", message, self.position("stages", name, "down", key=True))
            if not last:
                step = self.step(name, stage)
            result[name] = (resolution, step)
            if step is not None:
                args = BLOCKS[step.block].arguments(step.args)
                complaints = BLOCKS[step.block].check(args, self.width, self.width, resolution)
                for code, message in complaints:
                    where = self.position("stages", names[names.index(name) + 1], key=True)
                    self.problems.add(code, f"stage {quote(name)}: {message}", where)
                given = BLOCKS[step.block].output_resolution(args, resolution)
                if not complaints and (resolution % max(given, 1) or not 2 <= resolution // max(given, 1) <= 16):
                    message = (
                        f"stage {quote(name)}: 'down' must make it 2 to 16 times smaller, and {step.block} does not"
                    )
                    self.problems.add("bad-resolution", message, step.position)
                resolution = given
        return result

    def step(self, name: str, stage: StageSpec) -> Use | None:
        """The block that leads from a stage to the next."""
        tree = self.tree.get("stages").get(name)  # type: ignore[union-attr]
        down = tree.get("down") if isinstance(tree, Mapping) else None
        if down is None:
            return self.named("down", "stages", name)
        if isinstance(down, Mapping):
            return read_use(down, self.defaults, self.problems)
        plain = self.named("down", "stages", name, "down")
        factor = stage.down.others["factor"] if stage.down else 2
        if not 2 <= factor <= 16:
            self.problems.add("out-of-range", f"'down' must be from 2 to 16, not {factor}", down.position)
            return None
        if plain is None:
            return None
        args = {key: value for key, value in plain.args if key != "factor"} | (
            {"factor": factor} if factor != 2 else {}
        )
        return Use("down", tuple(sorted(args.items())), down.position)

    def check_name(self, name: str, resolution: int) -> None:
        """A stage called rN stands at N pixels."""
        where = self.position("stages", name, key=True)
        if not STAGE_NAME.fullmatch(name):
            message = f"stage {quote(name)}: a name has small letters, digits and underscores and starts with a letter"
            self.problems.add("bad-name", message, where)
        match = re.fullmatch(r"r(\d+)", name)
        if match and int(match[1]) != resolution:
            message = f"stage {quote(name)} stands at {resolution} pixels; call it 'r{resolution}'"
            self.problems.add("bad-resolution", message, where)

    def expand(self) -> LevelDraft | None:
        """Write the level; None where something is wrong."""
        before = len(self.problems)
        named = {name: self.unit(name, stage) for name, stage in self.stages.items()}
        total = sum((2 * stage.depth + 1) * len(named[name]) for name, stage in self.stages.items())
        if total > MAX_NODES:
            message = f"these stages hold {total:,} blocks, where a level has at most {MAX_NODES:,}"
            self.problems.add("too-large", message, self.position("stages", key=True))
            return None
        steps = self.steps()
        middle = self.middle()
        if len(self.problems) > before:
            return None
        units = {name: [use for use in uses if use is not None] for name, uses in named.items()}
        first = self.width
        self.way_down(units, steps)
        self.bottom([use for use in middle if use is not None])
        self.way_up(units, steps)
        return LevelDraft(
            self.level.resolution,
            first,
            tuple(self.nodes),
            self.current,
            self.level.head.groups,
            self.tree.position,
            self.position("stages", key=True),
        )

    def way_down(self, units: Units, steps: Steps) -> None:
        """Units and downsamplings; each leaves a skip."""
        for name, stage in self.stages.items():
            for index in range(stage.depth):
                self.add_unit(f"{name}_down{index}", units[name], stage.width, (self.current,))
                self.skips.append((self.current, self.width))
            step = steps[name][1]
            if step is not None:
                self.add(f"{name}_downsample", step, self.width, (self.current,))
                self.skips.append((self.current, self.width))

    def middle(self) -> list[Use | None]:
        """The blocks at the coarsest stage of an innermost level."""
        if self.level.nest is not None:
            return []
        if self.level.middle is not None:
            return [self.use("middle", index) for index in range(len(self.level.middle))]
        last = next(reversed(self.stages))
        return [self.named(block, "stages", last) for block in DEFAULT_MIDDLE]

    def bottom(self, middle: list[Use]) -> None:
        """The middle blocks, or the nested level."""
        if self.level.nest is not None:
            self.add("nest", Use("nest", (), self.position("nest", key=True)), self.width, (self.current,))
        for index, use in enumerate(middle):
            self.add(f"middle{index}_{use.block}", use, self.width, (self.current,))

    def way_up(self, units: Units, steps: Steps) -> None:
        """Units, each after taking a skip, and upsamplings."""
        names = list(reversed(self.stages))
        for name, finer in zip(names, [*names[1:], None], strict=True):
            stage = self.stages[name]
            mode = stage.skip or self.level.skip
            for index in range(stage.depth + 1):
                inputs, merge = self.take_skip(f"{name}_up{index}", mode)
                self.add_unit(f"{name}_up{index}", units[name], stage.width, inputs, merge)
            if finer is not None:
                factor = steps[finer][0] // steps[name][0]
                up = self.named("up", "stages", name)
                args = dict(up.args if up else ()) | ({"factor": factor} if factor != 2 else {})
                use = Use("up", tuple(sorted(args.items())), self.position("stages", name))
                self.add(f"{name}_upsample", use, self.width, (self.current,))

    def take_skip(self, prefix: str, mode: str) -> tuple[tuple[str, ...], Merge]:
        """What a unit on the way up reads, and how it merges that."""
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
    """The nodes that a level's ``stages`` and ``middle`` stand for; None where something is wrong.

    Names: ``{stage}_down{i}_{block}``, ``{stage}_downsample``, ``middle{i}_{block}`` or ``nest``,
    ``{stage}_up{i}_{block}``, ``{stage}_upsample``; a block that a unit holds several times is numbered.
    """
    return _Stages(level, tree, problems).expand()
