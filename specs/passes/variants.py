"""Variants: check their keys, and multiply the widths or depths of an entry's own level."""

from __future__ import annotations

from specs.blocks.base import DEFAULT_GROUPS
from specs.errors import Problems, did_you_mean, fail, quote
from specs.library import NAME
from specs.schemas.entry import EntrySpec, MultiplySpec
from specs.syntax.merge import put
from specs.syntax.validation import validate, validate_into
from specs.syntax.yaml_tree import Entry, Mapping, Scalar, Tree, value_at

__all__ = ["check_variants", "multiply"]


def check_variants(tree: Mapping, only: str | None = None) -> None:
    """Check that every variant of a file is a mapping with an entry's keys or ``multiply``.

    Values are checked when the variant is loaded.

    Args:
        tree: Tree of the file.
        only: Name of the one variant to check. Default: all.

    Raises:
        SpecError: A variant has another form or an unknown key.
    """
    variants = tree.get("variants")
    if variants is None:
        return
    if not isinstance(variants, Mapping):
        raise fail("wrong-type", "'variants' must be a mapping from names to changes", variants.position)
    problems = Problems()
    fields = sorted({*EntrySpec.model_fields, "multiply"} - {"name"})
    for name, entry in variants.entries.items():
        if only not in (None, name):
            continue
        if not NAME.fullmatch(name):
            message = f"variant {quote(name)}: use letters, digits, '-', '_' and '.', a letter or digit first"
            problems.add("bad-name", message, entry.key)
        if not isinstance(entry.value, Mapping):
            problems.add("wrong-type", f"variant {quote(name)} must be a mapping of changes", entry.value.position)
            continue
        for key, field in entry.value.entries.items():
            if key not in fields:
                hint = did_you_mean(key, fields)
                problems.add("unknown-key", f"variant {quote(name)} has no field {quote(key)}{hint}", field.key)
        factors = entry.value.get("multiply")
        if factors is not None:
            validate_into(MultiplySpec, factors, problems, "'multiply'")
    problems.raise_if_any()


def multiply(tree: Mapping, factors: Tree, name: str) -> tuple[Mapping, list[str]]:
    """Multiply the widths and depths of an entry's own stages or nodes.

    Widths are rounded to a multiple of the groups of ``resnet``, which group norms need. Depths are at least 1.

    Args:
        tree: Entry.
        factors: Mapping with ``width``, ``depth`` or both.
        name: Name of the variant, for notes.

    Returns:
        The changed entry, and a note for every width that was rounded.

    Raises:
        SpecError: A factor is out of range, or a graph has a factor for its depth.
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

    graph = tree.get("graph")
    if isinstance(graph, Mapping) and spec.depth != 1:
        where = factors.entries["depth"].key if isinstance(factors, Mapping) else factors.position
        raise fail("misplaced", "a graph has no depth to multiply, because it lists every node", where)
    for body in ("stages", "graph"):
        members = tree.get(body)
        if not isinstance(members, Mapping):
            continue
        changed = {}
        for member, entry in members.entries.items():
            value = entry.value
            for key in ("width", "depth"):
                number = value_at(value, key)
                if isinstance(value, Mapping) and isinstance(number, Scalar) and type(number.value) is int:
                    value = put(value, key, Scalar(scaled(member, key, number.value), number.position))
            changed[member] = Entry(entry.key, value)
        tree = put(tree, body, Mapping(changed, members.position))
    return tree, notes


def _groups(tree: Mapping) -> int:
    """Return the number of groups that widths must be divisible by."""
    groups = value_at(tree, "defaults", "resnet", "groups")
    value = groups.value if isinstance(groups, Scalar) else None
    return value if type(value) is int and value > 0 else DEFAULT_GROUPS
