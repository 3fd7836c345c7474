"""Variants by multiplication: every width or depth of an entry's own level times a factor."""

from __future__ import annotations

from specs.merge import put
from specs.schema import MultiplySpec
from specs.source import Entry, Mapping, Scalar, Tree
from specs.validation import validate

__all__ = ["multiply"]

DEFAULT_GROUPS = 32


def multiply(tree: Mapping, factors: Tree, name: str) -> tuple[Mapping, list[str]]:
    """The entry with its own stages scaled, and notes on widths that were rounded.

    Widths are rounded to a multiple of the resnet's groups, so that the norms fit; depths to at least one.

    Raises:
        SpecError: the factors are wrong.
    """
    spec = validate(MultiplySpec, factors, "'multiply'")
    groups = _groups(tree)
    notes: list[str] = []

    def scaled(stage: str, key: str, value: int) -> int:
        if key == "depth":
            return max(1, round(value * spec.depth))
        exact = value * spec.width
        rounded = max(1, round(exact / groups)) * groups
        if rounded != exact:
            notes.append(f"{name}: width of {stage} rounded from {exact:g} to {rounded}, a multiple of {groups} groups")
        return rounded

    stages = tree.get("stages")
    if not isinstance(stages, Mapping):
        return tree, notes
    changed = {}
    for stage, entry in stages.entries.items():
        value = entry.value
        if isinstance(value, Mapping):
            for key in ("width", "depth"):
                number = value.get(key)
                if isinstance(number, Scalar) and type(number.value) is int:
                    value = put(value, key, Scalar(scaled(stage, key, number.value), number.position))
        changed[stage] = Entry(entry.key, value)
    return put(tree, "stages", Mapping(changed, stages.position)), notes


def _groups(tree: Mapping) -> int:
    """The groups that widths must divide into."""
    at: Tree | None = tree
    for key in ("defaults", "resnet", "groups"):
        at = at.get(key) if isinstance(at, Mapping) else None
    return at.value if isinstance(at, Scalar) and type(at.value) is int and at.value > 0 else DEFAULT_GROUPS
