"""How an entry that extends another, a variant or an override changes the entry it starts from."""

from __future__ import annotations

from specs.syntax.yaml_tree import Entry, Mapping, Scalar, Tree

__all__ = ["drop", "merge", "put"]

#: Of two alternatives, naming one in a child drops the other of its parent.
_ALTERNATIVES = (("blocks", "attention"), ("stages", "graph"), ("steps", "hours"))
#: Keys of a node that are not arguments of its block.
NOT_ARGUMENTS = frozenset({"block", "width", "from", "merge", "repeat"})


def merge(base: Mapping, child: Mapping, inside: str = "") -> Mapping:
    """The mapping ``base`` with the changes of ``child``.

    Mappings merge, anything else is replaced, and null removes a key. A child whose ``stages`` name one that its
    parent lacks gives the whole list and its order. A node that changes its block loses the arguments it had. A null
    that finds nothing to remove stays, to be reported.

    Args:
        base: what is inherited.
        child: the changes.
        inside: key under which both stand.
    """
    kept = base.entries
    if inside == "stages" and any(key not in kept and not _is_null(entry) for key, entry in child.entries.items()):
        changed = {key: _merged(kept.get(key), entry, key) for key, entry in child.entries.items()}
        return Mapping({key: entry for key, entry in changed.items() if entry is not None}, child.position)
    if _text(child, "block") is not None and _text(child, "block") != _text(base, "block"):
        kept = {key: entry for key, entry in kept.items() if key in NOT_ARGUMENTS}
    entries = dict(kept)
    for pair in _ALTERNATIVES:
        for one, other in (pair, pair[::-1]):
            if one in child.entries and not _is_null(child.entries[one]) and other not in child.entries:
                entries.pop(other, None)
    for key, entry in child.entries.items():
        merged = _merged(entries.get(key), entry, key)
        if merged is None:
            del entries[key]
        else:
            entries[key] = merged
    return Mapping(entries, child.position)


def drop(tree: Mapping, *keys: str) -> Mapping:
    """The mapping without some keys."""
    return Mapping({key: entry for key, entry in tree.entries.items() if key not in keys}, tree.position)


def put(tree: Mapping, key: str, value: Tree) -> Mapping:
    """The mapping with one value set; its key keeps the position it had."""
    old = tree.entries.get(key)
    entry = Entry(old.key if old is not None else value.position, value)
    return Mapping({**tree.entries, key: entry}, tree.position)


def _merged(base: Entry | None, child: Entry, key: str) -> Entry | None:
    """One entry after merging; None if the child removes it."""
    if base is None:
        return child
    if _is_null(child):
        return None
    if isinstance(base.value, Mapping) and isinstance(child.value, Mapping) and "extends" not in child.value.entries:
        return Entry(child.key, merge(base.value, child.value, key))
    return child


def _is_null(entry: Entry) -> bool:
    return isinstance(entry.value, Scalar) and entry.value.value is None


def _text(tree: Mapping, key: str) -> str | None:
    value = tree.get(key)
    return value.value if isinstance(value, Scalar) and isinstance(value.value, str) else None
