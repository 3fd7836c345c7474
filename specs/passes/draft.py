"""Drafts of levels: all nodes are listed, but names, order and shapes are not checked yet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from specs.blocks import BLOCKS, Size
from specs.errors import Position, Problems, did_you_mean, quote
from specs.schemas.entry import LevelSpec
from specs.syntax.merge import NOT_ARGUMENTS, drop, merge
from specs.syntax.validation import validate_into
from specs.syntax.yaml_tree import Mapping, Scalar, Tree, locate, value_at

__all__ = ["Draft", "LevelDraft", "LevelWriter", "Use", "read_use"]

#: Names of nodes, stages and micro inputs, and how messages describe them.
NODE_NAME = re.compile(r"[a-z][a-z0-9_]*")
NAME_RULE = "use small letters, digits and underscores, a letter first"
#: Most nodes of a level; a spec with more is rejected before it is expanded.
MAX_NODES = 20_000


@dataclass(frozen=True, slots=True)
class Draft:
    """A node. If ``width`` is None, its output has as many channels as its input.

    ``written`` is the node of the file that this one is a repetition of, or that it resamples an input for.
    """

    name: str
    block: str
    width: int | None
    args: tuple[tuple[str, Any], ...]
    inputs: tuple[str, ...]
    merge: Literal["cat", "add", "mean"] | None
    position: Position
    written: str | None = None


@dataclass(frozen=True, slots=True)
class LevelDraft:
    """A level. ``head`` is the node that its head reads."""

    size: Size
    stem_width: int
    nodes: tuple[Draft, ...]
    head: str
    head_groups: int
    position: Position
    head_position: Position


@dataclass(frozen=True, slots=True)
class Use:
    """A block with its arguments, those of ``defaults`` included."""

    block: str
    args: tuple[tuple[str, Any], ...]
    position: Position


class LevelWriter:
    """Base of the classes that write the nodes of a level.

    Args:
        level: The level.
        tree: Tree that ``level`` was read from, for positions.
        problems: Receives all errors.
    """

    def __init__(self, level: LevelSpec, tree: Mapping, problems: Problems) -> None:
        self.level, self.tree, self.problems = level, tree, problems
        defaults = tree.get("defaults")
        self.defaults = defaults if isinstance(defaults, Mapping) else None
        self.nodes: list[Draft] = []

    def position(self, *path: str | int, key: bool = False) -> Position:
        """Return the position of the value at ``path``, or of its key."""
        return locate(self.tree, *path, key=key)

    def tree_at(self, *path: str | int) -> Tree | None:
        """Return the tree at ``path``, or None if there is none."""
        return value_at(self.tree, *path)

    def error(self, code: str, message: str, *path: str | int, key: bool = False) -> None:
        """Record an error at ``path``."""
        self.problems.add(code, message, self.position(*path, key=key))

    def use(self, tree: Tree | None) -> Use | None:
        """Return the block that ``tree`` describes, or None if it is missing or wrong."""
        return None if tree is None else read_use(tree, self.defaults, self.problems)

    def check_size(self, number: int, key: str) -> bool:
        """Check that the level, written as ``key``, does not have too many blocks."""
        if number > MAX_NODES:
            message = f"'{key}' has {number:,} blocks, but a level has at most {MAX_NODES:,}"
            self.error("too-large", message, key, key=True)
        return number <= MAX_NODES


def read_use(tree: Tree, defaults: Mapping | None, problems: Problems) -> Use | None:
    """Return the block that ``tree`` describes, its arguments checked; None if there are errors.

    Args:
        tree: Name of a block, or a mapping with the key ``block``.
        defaults: Mapping ``defaults`` of the level.
        problems: Receives all errors.
    """
    name = tree if isinstance(tree, Scalar) else tree.get("block") if isinstance(tree, Mapping) else None
    if not isinstance(name, Scalar) or not isinstance(name.value, str):
        return None  # reported by the schema
    block = BLOCKS.get(name.value)
    if block is None:
        hint = "" if problems.full else did_you_mean(name.value, BLOCKS) or f"; there are {', '.join(BLOCKS)}"
        problems.add("unknown-block", f"there is no block {quote(name.value)}{hint}", name.position)
        return None
    args = drop(tree, *NOT_ARGUMENTS) if isinstance(tree, Mapping) else Mapping({}, tree.position)
    usual = defaults.get(name.value) if defaults is not None else None
    if isinstance(usual, Mapping):
        args = merge(usual, args)
    model = validate_into(block.Args, args, problems, f"block {quote(name.value)}")
    if model is None:
        return None
    values = {key: getattr(model, key) for key in sorted(block.Args.model_fields)}
    changed = {key: value for key, value in values.items() if value != block.Args.model_fields[key].default}
    return Use(name.value, tuple(changed.items()), tree.position)
