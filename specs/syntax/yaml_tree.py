"""Parse YAML into a tree in which every value has a position.

The tree is built iteratively from libyaml's events, so that deep nesting or aliases cannot exhaust memory or the stack.
Scalars follow the core schema of YAML 1.2. Anchors, aliases, merge keys and tags are rejected.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from specs.errors import Position, Problems, SpecError, fail, quote
from specs.syntax.own_files import is_ours
from specs.syntax.scalars import core_scalar, is_not_text

__all__ = [
    "Entry",
    "Mapping",
    "Scalar",
    "Sequence",
    "Tree",
    "locate",
    "parse",
    "parse_text",
    "plain",
    "read_text",
    "value_at",
]

MAX_BYTES = 1_000_000
MAX_DEPTH = 64
MAX_NODES = 50_000


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value."""

    value: str | int | float | bool | None
    position: Position


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple[Tree, ...]
    position: Position


class Entry(NamedTuple):
    """One pair of a mapping: position of the key, and value."""

    key: Position
    value: Tree


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping from strings, in the order of the file."""

    entries: dict[str, Entry]
    position: Position

    def get(self, key: str) -> Tree | None:
        """Return the value of a key, or None."""
        entry = self.entries.get(key)
        return None if entry is None else entry.value


Tree = Scalar | Sequence | Mapping


def plain(tree: Tree) -> Any:
    """Return a tree as dicts, lists and scalars."""
    if isinstance(tree, Mapping):
        return {key: plain(entry.value) for key, entry in tree.entries.items()}
    if isinstance(tree, Sequence):
        return [plain(item) for item in tree.items]
    return tree.value


def value_at(tree: Tree | None, *path: str | int) -> Tree | None:
    """Return the value at ``path``, or None if there is none."""
    for step in path:
        if isinstance(tree, Mapping) and isinstance(step, str):
            tree = tree.get(step)
        elif isinstance(tree, Sequence) and isinstance(step, int) and step < len(tree.items):
            tree = tree.items[step]
        else:
            return None
    return tree


def locate(tree: Tree, *path: str | int, key: bool = False) -> Position:
    """Return the position of the value at ``path``, or of its key, as far as the path exists."""
    position = tree.position
    for step in path:
        if isinstance(tree, Mapping) and isinstance(step, str) and step in tree.entries:
            entry = tree.entries[step]
            position, tree = (entry.key if key else entry.value.position), entry.value
        elif isinstance(tree, Sequence) and isinstance(step, int) and step < len(tree.items):
            tree = tree.items[step]
            position = tree.position
    return position


def parse(path: str | os.PathLike[str], name: str | None = None) -> Tree:
    """Parse a file.

    Args:
        path: File of at most 1 MB; the size is checked before it is read.
        name: Name of the file in messages; default its path, relative if it is in the current folder.

    Raises:
        SpecError: The file is missing, unreadable or not a single valid YAML document, or a link to a file that has
            none of the keys of our files.
    """
    name = name or display_name(path)
    text = read_text(path, name)
    # A link may come from elsewhere, with the folder that it is in: errors would show the contents of any file.
    if os.path.islink(path) and not is_ours(text, others=True):
        raise fail("wrong-type", "this is a link to a file that has none of the keys of an entry or recipe", file=name)
    return parse_text(text, name)


def read_text(path: str | os.PathLike[str], name: str | None = None) -> str:
    """Return the text of a file; arguments as :func:`parse`.

    Raises:
        SpecError: The file is missing, unreadable, too large or not text.
    """
    name = name or display_name(path)
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise fail("missing-file", "no such file", file=name) from None
    except OSError as error:
        raise fail("unreadable", f"cannot be read: {error.strerror}", file=name) from None
    if not stat.S_ISREG(status.st_mode):
        what = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        hint = ""
        if os.path.isfile(os.path.join(path, "recipe.json")):
            what, hint = "the folder of a run", "; 'zoo sample', 'evaluate', 'compare' and 'card' take runs"
        raise fail("not-a-file", f"this is {what}; a YAML file is needed{hint}", file=name)
    if status.st_size > MAX_BYTES:
        raise _too_large(name, status.st_size)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise fail("unreadable", f"cannot be read: {error.strerror}", file=name) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise fail("not-text", "this is not UTF-8 text", file=name) from None


def parse_text(text: str, file: str = "<stdin>") -> Tree:
    """Parse a text; ``file`` is its name in messages.

    Raises:
        SpecError: The text is not a single valid YAML document.
    """
    if len(text) > MAX_BYTES:
        raise _too_large(file, len(text))
    try:
        text.encode()
    except UnicodeEncodeError:
        raise fail("not-text", "this is not UTF-8 text", file=file) from None
    if "\0" in text:
        raise fail("not-text", "this is a binary file", file=file)
    return _Reader(text.removeprefix("\ufeff"), file).read()


def display_name(path: str | os.PathLike[str]) -> str:
    """Return the name of a file in messages: relative to the current folder if it is in it, else unchanged."""
    name = os.fspath(path)
    try:
        inside = Path(name).absolute().relative_to(Path.cwd())
    except (ValueError, OSError):
        return name
    return str(inside) if inside.parts else name


def _too_large(file: str, size: int) -> SpecError:
    return fail("too-large", f"the file has {size:,} bytes, but a spec has at most {MAX_BYTES:,}", file=file)


@dataclass(slots=True)
class _Open:
    """A list or mapping that is not complete yet."""

    position: Position
    items: list[Tree] | None
    entries: dict[str, Entry] | None
    key: tuple[str, Position] | None = None


#: What to do about libyaml's messages, by a part of them.
_HINTS = {
    "mapping values are not allowed": "; a key is followed by lines that are indented more, or by a value on its line",
    "did not find expected key": "; keys of one mapping start in the same column",
    "could not find expected ':'": "; write a colon and a space after each key",
    "did not find expected ',' or": "; separate values by commas and close each bracket",
}


def _hint(message: str, line: str) -> str:
    """Return what to do about a syntax error in this line."""
    if line[: len(line) - len(line.lstrip())].count("\t"):
        return "; indent with spaces, not with tabs"
    return next((hint for part, hint in _HINTS.items() if part in message), "")


class _Reader:
    """Builds the tree of a text from parser events."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self.lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", text)
        self.problems = Problems()
        self.stack: list[_Open] = []
        self.root: Tree | None = None
        self.nodes = 0

    def read(self) -> Tree:
        documents = 0
        for event in self._events():
            kind = type(event).__name__
            if kind == "DocumentStartEvent":
                documents += 1
                if documents > 1:
                    self.problems.add("document", "this starts a second YAML document in the file", self._at(event))
                    break
            elif kind == "AliasEvent":
                message = f"aliases are not allowed (*{event.anchor}); use 'extends' or 'defaults'"
                self.problems.add("anchor", message, self._at(event))
                self._place(Scalar(True, self._at(event)))
            elif kind == "ScalarEvent":
                self._scalar(event)
            elif kind in ("MappingStartEvent", "SequenceStartEvent"):
                self._open(event, mapping=kind.startswith("M"))
            elif kind in ("MappingEndEvent", "SequenceEndEvent"):
                self._close()
        self.problems.raise_if_any()
        if self.root is None or (isinstance(self.root, Scalar) and self.root.value is None):
            raise fail("empty", "the file is empty", file=self.file)
        return self.root

    def _events(self) -> Iterator[Any]:
        import yaml

        seen = 0
        try:
            for event in yaml.parse(self.text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
                seen += 1
                yield event
        except yaml.reader.ReaderError as error:
            line = self.text.count("\n", 0, error.position) if isinstance(error.position, int) else 0
            raise fail("not-text", f"{error.reason} (line {line + 1})", file=self.file) from None
        except yaml.MarkedYAMLError as error:
            if "nesting depth" in str(error.problem):
                # libyaml reads ahead and has its own depth limit; PyYAML's parser continues up to ours.
                try:
                    yield from islice(yaml.parse(self.text, Loader=yaml.SafeLoader), seen, None)
                except yaml.MarkedYAMLError as later:
                    error = later
            mark = error.problem_mark or error.context_mark
            message = " ".join(part for part in (error.problem, error.context) if part)
            position = mark and self._position(mark.line, mark.column)
            self.problems.add("syntax", message + _hint(message, position.text if position else ""), position)
            self.problems.raise_if_any()

    def _position(self, line: int, column: int, length: int = 1) -> Position:
        text = self.lines[line] if line < len(self.lines) else ""
        return Position(self.file, line + 1, column + 1, length, text)

    def _at(self, event: Any) -> Position:
        start, end = event.start_mark, event.end_mark
        length = end.column - start.column if end.line == start.line else len(self.lines[start.line]) - start.column
        return self._position(start.line, start.column, max(1, length))

    def _refuse_properties(self, event: Any, position: Position) -> None:
        if event.anchor is not None:
            message = f"anchors are not allowed (&{event.anchor}); use 'extends' or 'defaults'"
            self.problems.add("anchor", message, position)
        if event.tag is not None:
            shown = event.tag.replace("tag:yaml.org,2002:", "!!")
            self.problems.add("tag", f"YAML tags are not allowed ({quote(shown)[1:-1]})", position)

    def _scalar(self, event: Any) -> None:
        position = self._at(event)
        self._refuse_properties(event, position)
        waiting = self.stack[-1] if self.stack else None
        if waiting is not None and waiting.entries is not None and waiting.key is None:
            waiting.key = (self._key(event, waiting.entries, position), position)
            return
        value: Any = event.value
        if not event.style and event.tag is None:  # plain: None, or empty from libyaml
            try:
                value = core_scalar(event.value)
            except SpecError as error:
                self.problems.add(error.problems[0].code, error.problems[0].message, position)
        self._place(Scalar(value, position))

    def _key(self, event: Any, entries: dict[str, Entry], position: Position) -> str:
        key: str = event.value
        if key == "<<":
            self.problems.add("anchor", "merge keys are not allowed; use 'extends' or 'defaults'", position)
        elif not event.style and is_not_text(key):
            self.problems.add("bad-key", f"a key must be a name, not {quote(key)[1:-1]}", position)
        elif key in entries:
            first = entries[key].key
            message = f"duplicate key {quote(key)}; it is first in line {first.line}"
            self.problems.add("duplicate-key", message, position)
        return key

    def _open(self, event: Any, mapping: bool) -> None:
        start = event.start_mark
        position = self._position(start.line, start.column)
        self._refuse_properties(event, position)
        if len(self.stack) >= MAX_DEPTH:
            self.problems.add("too-deep", f"lists and mappings are nested more than {MAX_DEPTH} levels deep", position)
            self.problems.raise_if_any()
        if self.stack and self.stack[-1].entries is not None and self.stack[-1].key is None:
            self.problems.add("bad-key", "a key must be a name, not a list or a mapping", position)
            self.problems.raise_if_any()
        self._count(position)
        self.stack.append(_Open(position, None if mapping else [], {} if mapping else None))

    def _close(self) -> None:
        done = self.stack.pop()
        if done.entries is not None:
            self._attach(Mapping(done.entries, done.position))
        else:
            self._attach(Sequence(tuple(done.items or ()), done.position))

    def _place(self, tree: Tree) -> None:
        self._count(tree.position)
        self._attach(tree)

    def _count(self, position: Position) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self.problems.add("too-large", f"the file has more than {MAX_NODES:,} values", position)
            self.problems.raise_if_any()

    def _attach(self, tree: Tree) -> None:
        if not self.stack:
            self.root = tree
            return
        parent = self.stack[-1]
        if parent.items is not None:
            parent.items.append(tree)
        elif parent.entries is not None and parent.key is not None:
            key, position = parent.key
            parent.entries.setdefault(key, Entry(position, tree))
            parent.key = None
