"""A level between expansion and check: its nodes are written out, but names, order and shapes are unproven."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from specs.blocks import BLOCKS
from specs.errors import Position, Problems, did_you_mean, quote
from specs.syntax.merge import NOT_ARGUMENTS, merge
from specs.syntax.validation import validate_into
from specs.syntax.yaml_tree import Entry, Mapping, Scalar, Tree

__all__ = ["Draft", "LevelDraft", "Use", "read_use"]


@dataclass(frozen=True, slots=True)
class Draft:
    """A node as written; ``width`` None stands for the width of what it reads."""

    name: str
    block: str
    width: int | None
    args: tuple[tuple[str, Any], ...]
    inputs: tuple[str, ...]
    merge: Literal["cat", "add", "mean"] | None
    position: Position


@dataclass(frozen=True, slots=True)
class LevelDraft:
    """A level as written; ``head`` is the node its head reads."""

    resolution: int
    stem_width: int
    nodes: tuple[Draft, ...]
    head: str
    head_groups: int
    position: Position
    head_position: Position


@dataclass(frozen=True, slots=True)
class Use:
    """A block with its arguments, defaults included, as a node may have it."""

    block: str
    args: tuple[tuple[str, Any], ...]
    position: Position


def read_use(tree: Tree, defaults: Mapping | None, problems: Problems) -> Use | None:
    """The block that ``tree`` names, its arguments checked against the block's own model; None if they are wrong.

    Args:
        tree: a name, or a mapping with the key ``block``.
        defaults: the level's ``defaults``.
        problems: receives what is wrong.
    """
    name = tree if isinstance(tree, Scalar) else tree.get("block") if isinstance(tree, Mapping) else None
    if not isinstance(name, Scalar) or not isinstance(name.value, str):
        return None  # the schema has said so
    block = BLOCKS.get(name.value)
    if block is None:
        hint = "" if problems.full else did_you_mean(name.value, BLOCKS) or f"; there are {', '.join(BLOCKS)}"
        problems.add("unknown-block", f"there is no block {quote(name.value)}{hint}", name.position)
        return None
    given: dict[str, Entry] = {}
    if isinstance(tree, Mapping):
        given = {key: entry for key, entry in tree.entries.items() if key not in NOT_ARGUMENTS}
    args = Mapping(given, tree.position)
    usual = defaults.get(name.value) if defaults is not None else None
    if isinstance(usual, Mapping):
        args = merge(usual, args)
    model = validate_into(block.Args, args, problems, f"block {quote(name.value)}")
    if model is None:
        return None
    values = {key: getattr(model, key) for key in sorted(block.Args.model_fields)}
    changed = {key: value for key, value in values.items() if value != block.Args.model_fields[key].default}
    return Use(name.value, tuple(changed.items()), tree.position)
