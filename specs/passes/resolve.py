"""References followed: ``extends``, ``nest``, variants and tags, until an entry is one positioned tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from specs.errors import Position, Problems, SpecError, UnknownName, closest, did_you_mean, fail, quote
from specs.library import Reference, find, find_tag, is_path, list_names
from specs.passes.variants import check_variants, multiply
from specs.syntax.merge import drop, merge, put
from specs.syntax.yaml_tree import Entry, Mapping, Scalar, Tree, display_name, parse
from specs.syntax.yaml_tree import Sequence as TreeSequence

__all__ = ["Resolved", "Resolver"]

#: Keys that stay with the entry that has them.
_OWN = ("name", "summary", "variants")
#: Entries that may stand between the one asked for and the last one that it extends or nests.
MAX_REFERENCES = 50


@dataclass(frozen=True)
class Resolved:
    """An entry's tree without references, and the files it was made from."""

    tree: Mapping
    sources: tuple[Path, ...]
    #: How each file that a reference led to was reached.
    reached: dict[str, tuple[Position, ...]]
    #: What a reader should know, such as widths that were rounded.
    notes: tuple[str, ...] = ()


@dataclass
class Resolver:
    """Follows the references of one entry; keeps the way it went, for messages and against circles.

    Args:
        search: folders that names are looked up in.
    """

    search: tuple[Path, ...]
    sources: dict[Path, None] = field(default_factory=dict)
    #: Where the file that is being read was asked for, by its name in messages.
    reached: dict[str, tuple[Position, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _way: list[tuple[Path, str | None]] = field(default_factory=list)
    _steps: list[Position] = field(default_factory=list)
    _known: dict[tuple[tuple[Path, str | None], tuple[Path, ...]], Mapping] = field(default_factory=dict)

    def name(self, name: str) -> Mapping:
        """The entry of this name.

        Raises:
            UnknownName: there is none.
            SpecError: it is wrong.
        """
        reference = find(name, self.search)
        if reference is None:
            raise UnknownName(name, closest(name, list_names(self.search), count=3))
        tree = self.reference(reference, self.search)
        written = tree.get("name")
        if isinstance(written, Scalar) and isinstance(written.value, str) and written.value != reference.name:
            problem = f"this file is found as {quote(reference.name)} but says its name is {quote(written.value)}"
            raise fail("name-mismatch", problem, written.position)
        return tree

    def path(self, path: Path) -> Mapping:
        """The entry in a file; names in it are looked up beside it first."""
        return self.reference(Reference(path), (path.parent, *self.search))

    def text(self, tree: Tree) -> Mapping:
        """An entry that came from no file."""
        return self.completed(_mapping(tree), self.search)

    def reference(self, reference: Reference, search: tuple[Path, ...]) -> Mapping:
        """The entry, variant or tagged entry that a reference leads to, its own references followed."""
        key = (reference.path.resolve(), reference.variant)
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
        """References neither return to where they came from nor go on for ever."""
        where = self._steps[-1] if self._steps else None
        if key in self._way:
            names = [path.stem if variant is None else variant for path, variant in [*self._way, key]]
            circle = " -> ".join(names[self._way.index(key) :])
            raise fail("cyclic-reference", f"entries refer to each other in a circle: {circle}", where)
        if len(self._way) >= MAX_REFERENCES:
            raise fail("too-large", f"more than {MAX_REFERENCES} entries refer to one another in a row", where)

    def entry(self, reference: Reference, search: tuple[Path, ...]) -> Mapping:
        """A file's tree, or that of a variant in it, with what it extends and nests."""
        tree = self.file(reference.path)
        check_variants(tree)
        base = self.completed(drop(tree, "variants"), search)
        return base if reference.variant is None else self.variant(base, tree, reference.variant, search)

    def file(self, path: Path) -> Mapping:
        """The tree of a file, which is remembered as a source."""
        self.sources[path] = None
        self.reached.setdefault(display_name(path), tuple(self._steps))
        return _mapping(parse(path))

    def completed(self, tree: Mapping, search: tuple[Path, ...], *, inner: bool = False) -> Mapping:
        """The tree with the level it nests in place of a name, merged over the entry that it extends.

        Each file's references are followed from that file, before anything that extends it changes the result.
        """
        extends = tree.entries.get("extends")
        own = self.nested(drop(tree, "extends"), search)
        if extends is None:
            return own
        base = self.follow(extends.value, search)
        # Changes to an inner level or within it make it another one than its name says.
        named = inner and not own.entries
        base = drop(base, *(("summary", "variants") if named else _OWN), *(("process",) if inner else ()))
        given, inherited = tree.get("nest"), base.get("nest")
        if isinstance(given, Mapping) and "extends" not in given.entries and isinstance(inherited, Mapping):
            base = put(base, "nest", drop(inherited, "name"))
        elif given is not None:
            base = drop(base, "nest") if not _is_null(given) else base
        return merge(base, own)

    def nested(self, tree: Mapping, search: tuple[Path, ...]) -> Mapping:
        """The tree with the level it nests in place of a name."""
        entry = tree.entries.get("nest")
        if entry is None:
            return tree
        nest = entry.value
        if isinstance(nest, Scalar) and nest.value is not None:
            inner = drop(self.follow(nest, search), "summary", "variants", "process")
        elif isinstance(nest, Mapping):
            inner = self.completed(nest, search, inner=True)
        else:
            return tree
        return Mapping({**tree.entries, "nest": Entry(entry.key, inner)}, tree.position)

    def follow(self, value: Tree, search: tuple[Path, ...]) -> Mapping:
        """The entry that a name or path within a file refers to."""
        if not isinstance(value, Scalar) or not isinstance(value.value, str):
            raise fail("wrong-type", "the name of an entry or a path to one is needed here", value.position)
        name = value.value
        if is_path(name):
            folder = self._way[-1][0].parent if self._way else Path.cwd()
            path = Path(name).expanduser()
            reference: Reference | None = Reference(path if path.is_absolute() else folder / path)
            search = (reference.path.parent, *search)  # type: ignore[union-attr]
        else:
            reference = find(name, search)
        if reference is None:
            hint = did_you_mean(name, list_names(self.search))
            raise fail("unknown-entry", f"no entry is called {quote(name)}{hint}", value.position)
        self._steps.append(value.position)
        try:
            return self.reference(reference, search)
        finally:
            self._steps.pop()

    def variant(self, base: Mapping, tree: Mapping, name: str, search: tuple[Path, ...]) -> Mapping:
        """The variant that ``tree`` declares, with its changes and its factors applied to ``base``."""
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
        """The entry with the tag's conditioning in place of the innermost level's own."""
        from specs.schemas.entry import TagSpec
        from specs.syntax.validation import validate

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
    """Put a tag's text or classes in the innermost level, in place of what it had of these."""
    nest = tree.get("nest")
    if isinstance(nest, Mapping):
        return put(tree, "nest", _replace_inputs(nest, inputs))
    own = tree.get("inputs")
    kept = drop(own, "text", "classes") if isinstance(own, Mapping) else Mapping({}, inputs.position)
    return put(tree, "inputs", Mapping({**kept.entries, **inputs.entries}, kept.position))


def _is_null(tree: Tree) -> bool:
    return isinstance(tree, Scalar) and tree.value is None


def _mapping(tree: Tree) -> Mapping:
    if isinstance(tree, Mapping):
        return tree
    what = "a list" if isinstance(tree, TreeSequence) else quote(tree.value)
    raise fail("wrong-type", f"an entry is a mapping of keys to values, not {what}", tree.position)


def resolve(reference: str | Path | Tree, search: Sequence[Path], problems: Problems) -> Resolved:
    """Resolve a name, a path or a parsed text.

    Raises:
        UnknownName, SpecError: as ``Resolver``.
    """
    resolver = Resolver(tuple(search))
    try:
        if isinstance(reference, Path):
            tree = resolver.path(reference)
        elif isinstance(reference, str):
            tree = resolver.name(reference)
        else:
            tree = resolver.text(reference)
    except SpecError as error:
        for problem in error.problems:
            problems.add(problem.code, problem.message, problem.position, problem.file)
        problems.raise_if_any(resolver.reached)
        raise
    return Resolved(tree, tuple(resolver.sources), resolver.reached, tuple(resolver.notes))
