"""Sizes of the stages of a level, and the blocks that lead from one stage to the next."""

from __future__ import annotations

import re
from itertools import zip_longest

from specs.blocks import BLOCKS, Size
from specs.blocks.size import frames_of
from specs.errors import did_you_mean, quote
from specs.passes.draft import NAME_RULE, NODE_NAME, LevelWriter, Use
from specs.schemas.entry import MAX_SPACE_STEP, MAX_TIME_STEP, DownSpec, StageSpec
from specs.syntax.yaml_tree import Entry, Mapping, Scalar

__all__ = ["StepWriter", "Steps"]

#: For each stage, its size and the blocks that lead to the next stage, by the ends of their nodes' names.
Steps = dict[str, tuple[Size, dict[str, Use]]]

SPACE, TIME = "downsample", "time_downsample"
#: Names of stages that say how many pixels a stage has, and how many frames.
_STAGE = re.compile(r"r([0-9]+)(?:f([0-9]+))?")


class StepWriter(LevelWriter):
    """Base of the writer of stages: it knows the sizes of stages and the steps between them."""

    stages: dict[str, StageSpec]
    #: Channels of the node that was added last.
    width: int

    def implied(self, block: str, *path: str | int, **args: int) -> Use | None:
        """Return a block that a short form at ``path`` implies."""
        position = self.position(*path)
        values: dict[str, str | int] = {"block": block, **args}
        return self.use(
            Mapping({key: Entry(position, Scalar(value, position)) for key, value in values.items()}, position)
        )

    def steps(self) -> Steps:
        """Return the size of each stage and the blocks that lead to the next stage."""
        size, result = self.level.size, {}
        names = list(self.stages)
        for name, following in zip_longest(names, names[1:]):
            self.check_name(name, size)
            uses = [] if following is None else self.step(name, following, size)
            if following is None and self.stages[name].down is not None:
                message = f"stage {quote(name)} is the last one, so it cannot have 'down'"
                self.error("misplaced", message, "stages", name, "down", key=True)
            after, nodes = self.next_size(name, following, [use for use in uses if use is not None], size)
            result[name] = (size, nodes)
            # After an error in the step, the next stage is taken to have the size of its name.
            size = after if nodes else _named(following or "", after)
        return result

    def step(self, name: str, following: str, size: Size) -> list[Use | None]:
        """Return the blocks that lead from a stage to the next one, pixels first."""
        down = self.stages[name].down
        path = ("stages", name, "down")
        if down is None:
            return self.step_by_name(name, following, size)
        if down.block is None:
            return self.factors(down, *path)
        if down.space is not None or down.time is not None:
            self.error("conflict", "'down' has 'block', or 'space' and 'time', not both", *path, key=True)
            return []
        tree = self.tree_at(*path)
        if isinstance(tree, Mapping):
            return [self.use(tree)]
        factor = down.others["factor"]
        if not 2 <= factor <= MAX_SPACE_STEP:
            self.error("out-of-range", f"'down' must be from 2 to {MAX_SPACE_STEP}, not {factor}", *path)
            return []
        return [self.implied("down", *path, factor=factor)]

    def factors(self, down: DownSpec, *path: str) -> list[Use | None]:
        """Return the blocks of ``{space: N, time: M}``."""
        for key in down.others:
            hint = did_you_mean(key, ("block", "space", "time"))
            message = f"'down' without 'block' has no field {quote(key)}{hint or '; it has space, time'}"
            self.error("unknown-key", message, *path, key, key=True)
        if down.space is None and down.time is None:
            self.error("missing-key", "'down' needs 'block', 'space' or 'time'", *path, key=True)
        uses = []
        if down.space is not None:
            uses.append(self.implied("down", *path, "space", factor=down.space))
        if down.time is not None:
            uses.append(self.implied("time_down", *path, "time", factor=down.time))
        return uses

    def step_by_name(self, name: str, following: str, size: Size) -> list[Use | None]:
        """Return the blocks that lead to a stage called rNfM; the default, half the pixels, for other names."""
        match = _STAGE.fullmatch(following)
        goal = _named(following, size) if match and match[2] else size
        if goal == size or not _divides(goal, size):
            return [self.implied("down", "stages", name)]
        space, time = size.side // goal.side, size.frames // goal.frames
        for factor, limit, what in ((space, MAX_SPACE_STEP, "pixels"), (time, MAX_TIME_STEP, "frames")):
            if factor > limit:
                message = f"the step from stage {quote(name)} to {quote(following)} divides the {what} by {factor}, "
                message += f"but at most {limit} is allowed"
                self.error("out-of-range", message, "stages", following, key=True)
                return []
        uses = [self.implied("down", "stages", name, factor=space)] if space > 1 else []
        return uses + ([self.implied("time_down", "stages", name, factor=time)] if time > 1 else [])

    def next_size(self, name: str, following: str, uses: list[Use], size: Size) -> tuple[Size, dict[str, Use]]:
        """Check the blocks of a step.

        Returns:
            The size that they lead to, and the blocks by the ends of their names; no blocks if there are errors.
        """
        before, nodes, problems = size, {}, len(self.problems)
        for use in uses:
            block = BLOCKS[use.block]
            args = block.arguments(use.args)
            for code, message in block.check(args, self.width, self.width, size):
                self.error(code, f"stage {quote(name)}: {message}", "stages", following, key=True)
            after = block.output_size(args, size)
            nodes[TIME if after.side == size.side and after.frames != size.frames else SPACE] = use
            size = after
        if uses and len(self.problems) == problems and not _is_step(before, size):
            allowed = f"the resolution by 2 to {MAX_SPACE_STEP}"
            if self.level.frames > 1:
                allowed += f" or the frames by 2 to {MAX_TIME_STEP}"
            message = f"stage {quote(name)}: 'down' must divide {allowed}, but {uses[0].block} does not"
            self.problems.add("bad-resolution", message, uses[0].position)
        return size, nodes if len(self.problems) == problems else {}

    def check_name(self, name: str, size: Size) -> None:
        """Check the name of a stage, that one called rN has N pixels, and one called rNfM also M frames."""
        if not NODE_NAME.fullmatch(name):
            self.error("bad-name", f"stage {quote(name)}: {NAME_RULE}", "stages", name, key=True)
        match = _STAGE.fullmatch(name)
        if match is None:
            return
        if match[2] is None:
            found, right = f"{size.side} pixels", f"r{size.side}"
        else:
            found = f"{size.side} pixels and {frames_of(size.frames)}"
            right = f"r{size.side}f{size.frames}" if self.level.frames > 1 else f"r{size.side}"
        named = int(match[2] or size.frames)
        if int(match[1]) != size.side or named != size.frames:
            message = f"stage {quote(name)} has {found}; call it '{right}'"
            if self.level.frames == 1 and named > 1:
                message += ", or give the level 'frames'"
            elif 0 < named < size.frames and size.frames % named:
                message += f"; {frames_of(size.frames)} cannot be divided into {named}"
            self.error("bad-resolution", message, "stages", name, key=True)


def _named(name: str, size: Size) -> Size:
    """Return the size that the name of a stage says, with the numbers of ``size`` that it leaves out."""
    match = _STAGE.fullmatch(name)
    return size if match is None else Size(int(match[1]), int(match[2] or size.frames))


def _divides(smaller: Size, size: Size) -> bool:
    """Return whether both numbers of one size divide those of another."""
    if not (smaller.side and smaller.frames):
        return False
    return size.side % smaller.side == 0 and size.frames % smaller.frames == 0


def _is_step(size: Size, result: Size) -> bool:
    """Return whether a step divides the side by a whole number up to 16, or the frames by one up to 64, or both."""
    if result == size or not _divides(result, size):
        return False
    return size.side // result.side <= MAX_SPACE_STEP and size.frames // result.frames <= MAX_TIME_STEP
