"""Resolve the references of an entry (``extends``, ``nest``, variants, tags) into one tree with positions."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from specs.errors import Position, Problems, SpecError, did_you_mean, fail, quote
from specs.library import Reference, find, find_tag, is_path, list_names, note_shadow, unknown_name
from specs.passes.variants import check_variants, multiply
from specs.schemas.entry import TagSpec
from specs.syntax.merge import drop, is_null, merge, put
from specs.syntax.references import check_reference
from specs.syntax.validation import check_name, validate
from specs.syntax.yaml_tree import Mapping, Scalar, Tree, display_name, parse
from specs.syntax.yaml_tree import Sequence as TreeSequence
from specs.user_paths import expanded as expand_home

__all__ = ["Resolved", "Resolver"]

#: Keys that are not inherited.
_OWN = ("name", "summary", "variants")
#: Longest chain of entries that extend or nest each other.
MAX_REFERENCES = 50


@dataclass(frozen=True)
class Resolved:
    """The tree of an entry without references, and the files it was read from."""

    tree: Mapping
    sources: tuple[Path, ...]
    #: For each file, the references through which it was reached.
    reached: dict[str, tuple[Position, ...]]
    #: Notes for the user, such as widths that were rounded.
    notes: tuple[str, ...] = ()


@dataclass
class Resolver:
    """Follows the references of one entry and records the path taken, for messages and to detect cycles.

    Args:
        search: Folders in which names are looked up.
    """

    search: tuple[Path, ...]
    sources: dict[Path, None] = field(default_factory=dict)
    #: For each file, by its name in messages, the references through which it was first reached.
    reached: dict[str, tuple[Position, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    #: Entries being resolved, each of which refers to the next one, and the positions of these references.
    _way: list[tuple[Path, str | None]] = field(default_factory=list)
    _steps: list[Position] = field(default_factory=list)
    #: Resolved entries by file, variant and folders.
    _known: dict[tuple[tuple[Path, str | None], tuple[Path, ...]], Mapping] = field(default_factory=dict)

    def name(self, name: str) -> Mapping:
        """Resolve the entry of this name.

        Raises:
            UnknownName: No entry has this name.
            SpecError: The entry has errors.
        """
        reference = find(name, self.search)
        if reference is None:
            raise unknown_name(name, "entry", self.search)
        note_shadow(reference)
        tree = self.reference(reference, self.search)
        check_name(tree, reference.name)
        return tree

    def path(self, path: Path) -> Mapping:
        """Resolve the entry in a file. Names in it are first looked up in its folder."""
        return self.reference(Reference(path), (path.parent, *self.search))

    def text(self, tree: Tree) -> Mapping:
        """Resolve an entry that has no file."""
        check_variants(_mapping(tree))
        return self.completed(_mapping(tree), self.search)

    def reference(self, reference: Reference, search: tuple[Path, ...]) -> Mapping:
        """Resolve the entry, variant or tagged entry of a reference."""
        key = (Path(os.path.realpath(reference.path)), reference.variant)
        known = self._known.get((key, search))
        if known is None:
            self.check_way(key)
            self._way.append(key)
            try:
                known = self.entry(reference, search)
            finally:
                self._way.pop()
            self._known[key, search] = known
        return known if reference.tag is None else self.tagged(known, reference, search)

    def check_way(self, key: tuple[Path, str | None]) -> None:
        """Check that references do not form a cycle or too long a chain."""
        where = self._steps[-1] if self._steps else None
        if key in self._way:
            names = [path.stem if variant is None else variant for path, variant in [*self._way, key]]
            cycle = " -> ".join(names[self._way.index(key) :])
            raise fail("cyclic-reference", f"entries refer to each other in a cycle: {cycle}", where)
        if len(self._way) >= MAX_REFERENCES:
            raise fail("too-large", f"more than {MAX_REFERENCES} entries refer to each other in a chain", where)

    def entry(self, reference: Reference, search: tuple[Path, ...]) -> Mapping:
        """Resolve the entry in a file, or a variant that the file declares."""
        tree = self.file(reference.path)
        check_variants(tree, reference.variant)
        base = self.completed(drop(tree, "variants"), search)
        return base if reference.variant is None else self.variant(base, tree, reference.variant, search)

    def file(self, path: Path) -> Mapping:
        """Parse a file and record it as a source."""
        self.sources[path] = None
        self.reached.setdefault(display_name(path), tuple(self._steps))
        return _mapping(parse(path))

    def completed(self, tree: Mapping, search: tuple[Path, ...], *, inner: bool = False) -> Mapping:
        """Return a tree with its nested level resolved, merged over the entry that it extends.

        References are resolved in the file that contains them, before an entry that extends it changes the result.
        """
        extends = tree.entries.get("extends")
        own = self.nested(drop(tree, "extends"), search)
        if extends is None:
            return own
        base = self.follow(extends.value, search)
        # An inner level with changes is no longer the entry of that name.
        named = inner and not own.entries
        base = drop(base, *(("summary", "variants") if named else _OWN), *(("process",) if inner else ()))
        nest, inherited = tree.get("nest"), base.get("nest")
        if isinstance(nest, Mapping) and "extends" not in nest.entries and isinstance(inherited, Mapping):
            base = put(base, "nest", drop(inherited, "name"))
        elif nest is not None and not is_null(nest):
            base = drop(base, "nest")
        return merge(base, own)

    def nested(self, tree: Mapping, search: tuple[Path, ...]) -> Mapping:
        """Return a tree with its nested level resolved."""
        nest = tree.get("nest")
        if isinstance(nest, Scalar) and nest.value is not None:
            inner = drop(self.follow(nest, search), "summary", "variants", "process")
        elif isinstance(nest, Mapping):
            inner = self.completed(nest, search, inner=True)
        else:
            return tree
        return put(tree, "nest", inner)

    def follow(self, value: Tree, search: tuple[Path, ...]) -> Mapping:
        """Resolve the entry that a name or path in a file refers to."""
        if not isinstance(value, Scalar) or not isinstance(value.value, str):
            raise fail("wrong-type", "this must be the name of an entry or a path to one", value.position)
        name = value.value
        if is_path(name):
            folder = self._way[-1][0].parent if self._way else Path.cwd()
            path = folder / expand_home(name)
            check_reference(path, value.position, self.search)
            reference: Reference | None = Reference(path)
            search = (path.parent, *search)
        else:
            reference = find(name, search)
            if reference is not None:
                note_shadow(reference)
        if reference is None:
            hint = did_you_mean(name, list_names(self.search))
            raise fail("unknown-entry", f"no entry is called {quote(name)}{hint}", value.position)
        self._steps.append(value.position)
        try:
            return self.reference(reference, search)
        finally:
            self._steps.pop()

    def variant(self, base: Mapping, tree: Mapping, name: str, search: tuple[Path, ...]) -> Mapping:
        """Return a variant that ``tree`` declares: ``base`` with its changes and its factors."""
        variants = tree.get("variants")
        assert isinstance(variants, Mapping)
        entry = variants.entries[name]
        assert isinstance(entry.value, Mapping)
        merged = merge(drop(base, *_OWN), self.nested(drop(entry.value, "multiply"), search))
        factors = entry.value.get("multiply")
        if factors is not None:
            merged, notes = multiply(merged, factors, name)
            self.notes += notes
        return put(merged, "name", Scalar(name, entry.key))

    def tagged(self, tree: Mapping, reference: Reference, search: tuple[Path, ...]) -> Mapping:
        """Return an entry with the text and classes of its innermost level replaced by those of a tag."""
        assert reference.tag is not None
        path = find_tag(reference.tag, search)
        assert path is not None
        self.sources[path] = None
        tag = parse(path)
        validate(TagSpec, tag, "a tag")
        assert isinstance(tag, Mapping)
        name = tree.get("name")
        if isinstance(name, Scalar):
            tree = put(tree, "name", Scalar(f"{name.value}.{reference.tag}", name.position))
        summary, extra = tree.get("summary"), tag.get("summary")
        if isinstance(summary, Scalar) and isinstance(extra, Scalar):
            joined = f"{str(summary.value).rstrip('.')}; {extra.value}"
            tree = put(tree, "summary", Scalar(joined, summary.position))
        inputs = tag.get("inputs")
        return tree if not isinstance(inputs, Mapping) else _replace_inputs(tree, inputs)


def _replace_inputs(tree: Mapping, inputs: Mapping) -> Mapping:
    """Replace the text and classes of the innermost level."""
    nest = tree.get("nest")
    if isinstance(nest, Mapping):
        return put(tree, "nest", _replace_inputs(nest, inputs))
    own = tree.get("inputs")
    kept = drop(own, "text", "classes") if isinstance(own, Mapping) else Mapping({}, inputs.position)
    return put(tree, "inputs", Mapping({**kept.entries, **inputs.entries}, kept.position))


def _mapping(tree: Tree) -> Mapping:
    if isinstance(tree, Mapping):
        return tree
    what = "a list" if isinstance(tree, TreeSequence) else quote(tree.value)
    raise fail("wrong-type", f"an entry is a mapping of keys to values, not {what}", tree.position)


def resolve(reference: str | Path | Tree, search: Sequence[Path]) -> Resolved:
    """Resolve a name, a path or a parsed text.

    Args:
        reference: Name or path of an entry, or its tree.
        search: Folders in which names are looked up.

    Raises:
        UnknownName: No entry has this name.
        SpecError: The entry has errors.
    """
    resolver = Resolver(tuple(search))
    if isinstance(reference, Path):
        return _resolved(resolver, lambda: resolver.path(reference))
    if isinstance(reference, str):
        return _resolved(resolver, lambda: resolver.name(reference))
    return _resolved(resolver, lambda: resolver.text(reference))


def resolve_variant(reference: Path | Tree, name: str, search: Sequence[Path]) -> Resolved:
    """Resolve a variant that a file or a parsed text declares.

    Raises:
        SpecError: The variant has errors.
    """
    resolver = Resolver(tuple(search))

    def variant() -> Mapping:
        if isinstance(reference, Path):
            return resolver.reference(Reference(reference, name), (reference.parent, *resolver.search))
        tree = _mapping(reference)
        check_variants(tree, name)
        base = resolver.completed(drop(tree, "variants"), resolver.search)
        return resolver.variant(base, tree, name, resolver.search)

    return _resolved(resolver, variant)


def _resolved(resolver: Resolver, run: Callable[[], Mapping]) -> Resolved:
    try:
        tree = run()
    except SpecError as error:
        problems = Problems()
        problems.extend(error.problems)
        problems.raise_if_any(resolver.reached)
        raise
    return Resolved(tree, tuple(resolver.sources), resolver.reached, tuple(resolver.notes))
