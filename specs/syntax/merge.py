"""Merge changes into a tree, as entries that extend others, variants and overrides do."""

from __future__ import annotations

from specs.syntax.yaml_tree import Entry, Mapping, Scalar, Tree

__all__ = ["NOT_ARGUMENTS", "drop", "is_null", "merge", "put"]

#: Alternatives: a child that has one of the two keys drops the other one of its parent. Phases of studies have shares.
_ALTERNATIVES = (
    ("blocks", "attention"), ("blocks", "temporal"), ("stages", "graph"), ("steps", "hours"), ("steps", "share"),
    ("hours", "share"),
)  # fmt: skip
#: Keys of a node that are not arguments of its block.
NOT_ARGUMENTS = frozenset({"block", "width", "from", "merge", "repeat"})


def merge(base: Mapping, child: Mapping, inside: str = "") -> Mapping:
    """Return ``base`` with the changes of ``child``.

    Mappings are merged, other values are replaced, and null removes a key. If ``stages`` of the child have a stage that
    the parent lacks, they replace the parent's stages and their order. A node that changes its block drops its former
    arguments, and so does a step ``down`` in space or time that was a block. A null with no key to remove is left in
    place, so that it can be reported.

    Args:
        base: Inherited mapping.
        child: Changes.
        inside: Key of both mappings.
    """
    kept = base.entries
    if inside == "stages" and any(key not in kept and not is_null(entry.value) for key, entry in child.entries.items()):
        changed = {key: _merged(kept.get(key), entry, key) for key, entry in child.entries.items()}
        return Mapping({key: entry for key, entry in changed.items() if entry is not None}, child.position)
    if _text(child, "block") is not None and _text(child, "block") != _text(base, "block"):
        kept = {key: entry for key, entry in kept.items() if key in NOT_ARGUMENTS}
    entries = dict(kept)
    if inside == "down" and "block" not in child.entries and not child.entries.keys().isdisjoint(("space", "time")):
        entries = {key: entry for key, entry in entries.items() if key in ("space", "time")}
    for pair in _ALTERNATIVES:
        for one, other in (pair, pair[::-1]):
            if one in child.entries and not is_null(child.entries[one].value) and other not in child.entries:
                entries.pop(other, None)
    for key, entry in child.entries.items():
        merged = _merged(entries.get(key), entry, key)
        if merged is None:
            del entries[key]
        else:
            entries[key] = merged
    return Mapping(entries, child.position)


def drop(tree: Mapping, *keys: str) -> Mapping:
    """Return a mapping without some keys."""
    return Mapping({key: entry for key, entry in tree.entries.items() if key not in keys}, tree.position)


def put(tree: Mapping, key: str, value: Tree) -> Mapping:
    """Return a mapping with one value set, at the position of its former key if there is one."""
    old = tree.entries.get(key)
    entry = Entry(old.key if old is not None else value.position, value)
    return Mapping({**tree.entries, key: entry}, tree.position)


def _merged(base: Entry | None, child: Entry, key: str) -> Entry | None:
    """Merge one entry; return None if the child removes it."""
    if base is None:
        return child
    if is_null(child.value):
        return None
    if isinstance(base.value, Mapping) and isinstance(child.value, Mapping) and "extends" not in child.value.entries:
        return Entry(child.key, merge(base.value, child.value, key))
    return child


def is_null(tree: Tree) -> bool:
    """Return whether a value is null."""
    return isinstance(tree, Scalar) and tree.value is None


def _text(tree: Mapping, key: str) -> str | None:
    value = tree.get(key)
    return value.value if isinstance(value, Scalar) and isinstance(value.value, str) else None
