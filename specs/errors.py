"""Errors in specs: codes, positions, problems, and the report that lists them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from specs.addresses import shown_address, without_secrets
from specs.printable import printable

__all__ = [
    "CODES",
    "AmbiguousName",
    "Position",
    "Problem",
    "Problems",
    "SpecError",
    "UnknownName",
    "closest",
    "did_you_mean",
    "fail",
    "quote",
]

#: Meaning of every code that a report shows in brackets after ``error``. Codes are stable.
CODES: dict[str, str] = {
    # the file as a whole
    "missing-file": "the file does not exist",
    "not-a-file": "the path is a directory, a pipe or a device",
    "unreadable": "the file cannot be opened",
    "not-text": "the file is not UTF-8 text",
    "empty": "the file is empty",
    "too-large": "the file, or the graph that it describes, exceeds a limit",
    # the text
    "syntax": "the text is not valid YAML",
    "too-deep": "brackets or indentation are nested too deeply",
    "duplicate-key": "a mapping has the same key twice",
    "bad-key": "a key is not a plain string",
    "anchor": "anchors, aliases and merge keys are not allowed; use extends or defaults",
    "tag": "YAML tags are not allowed",
    "document": "the file has more than one YAML document",
    "bad-number": "a number is infinite, NaN or too large",
    "null": "a value is missing, or null has no inherited key to remove",
    # the keys and their values
    "unknown-key": "a key that does not exist",
    "missing-key": "a required key is missing",
    "wrong-type": "a value of the wrong type",
    "out-of-range": "a number outside its range",
    "bad-value": "a value that is not allowed",
    "conflict": "keys that exclude each other",
    "misplaced": "a key that belongs to another level",
    # references
    "unknown-entry": "no entry has this name",
    "unknown-tag": "no tag has this name",
    "name-mismatch": "the file's name and the entry's name differ",
    "cyclic-reference": "entries that nest or extend each other in a cycle",
    "bad-override": "an override that is not PATH=VALUE, or whose path does not exist",
    # the graph
    "unknown-block": "no block has this name",
    "unknown-node": "a node reads a node that does not exist",
    "duplicate-node": "two nodes of a level have the same name",
    "bad-name": "a name that is reserved or malformed",
    "graph-cycle": "nodes that read each other in a cycle",
    "dead-node": "a node whose output is never used",
    "nest-node": "a graph has the node nest if and only if its level nests another one",
    "size-mismatch": "tensors of different sizes or widths are merged",
    "bad-width": "a width that the block does not accept",
    "bad-resolution": "a resolution that does not fit",
    "bad-frames": "a number of frames that does not fit",
    "bad-nesting": "levels that do not fit into each other",
}

#: A report lists this many problems and only counts the rest.
MAX_REPORTED = 20
_MAX_LINE = 110
#: Longest line with secrets that is printed: cutting them out takes time for each error on the line.
_MAX_SECRET_LINE = 10_000


@dataclass(frozen=True, slots=True)
class Position:
    """Where a value is written: file, line and column (both from 1), and its length in characters."""

    file: str
    line: int
    column: int
    length: int = 1
    #: The source line, for rendering.
    text: str = field(default="", repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One error. A problem with a file as a whole has a ``file`` and no position."""

    code: str
    message: str
    position: Position | None = None
    file: str | None = None
    #: References through which the file was reached, outermost first.
    reached: tuple[Position, ...] = ()

    def __str__(self) -> str:
        where = self.position or self.file
        head = without_secrets(f"error[{self.code}]: {self.message}")
        lines = [f"{printable(str(where))}: {head}" if where else head]
        if self.position is not None and self.position.text.strip():
            lines += _excerpt(self.position)
        for step in reversed(self.reached):
            lines.append(f"  reached through {step}: {_clean(without_secrets(step.text.strip()))[:_MAX_LINE]}")
        return "\n".join(lines)


class SpecError(ValueError):
    """A spec has errors. ``problems`` lists them; ``str()`` is the whole report."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        shown = [str(problem) for problem in self.problems[:MAX_REPORTED]]
        rest = len(self.problems) - len(shown)
        if rest > 0:
            shown.append(f"... and {rest} more errors")
        return "\n".join(shown)


class UnknownName(LookupError):
    """No entry, recipe or study has this name.

    Args:
        name: The name.
        suggestions: The closest names.
        what: Kind: entry, recipe or study.
        hint: What to do if there are no close names.
    """

    def __init__(self, name: str, suggestions: Sequence[str] = (), what: str = "entry", hint: str = "") -> None:
        self.name, self.suggestions, self.what, self.hint = name, tuple(suggestions), what, hint
        super().__init__(name, self.suggestions, what, hint)

    def __str__(self) -> str:
        return f"no {self.what} is called {quote(self.name)}{_suggestion(self.suggestions) or self.hint}"


class AmbiguousName(UnknownName):
    """The name is part of several names; ``suggestions`` are these names."""

    def __str__(self) -> str:
        return f"{quote(self.name)} matches {', '.join(self.suggestions)}; give the full name"


class Problems:
    """The problems of a pass, collected so that they are all reported together."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

    @property
    def full(self) -> bool:
        """Whether there are more problems than a report shows, so that suggestions are not worth computing."""
        return len(self._found) > MAX_REPORTED

    def add(self, code: str, message: str, position: Position | None = None, file: str | None = None) -> None:
        """Record a problem; the same problem at the same place counts once."""
        assert code in CODES, code
        self._found.setdefault(Problem(code, message, position, file), None)

    def extend(self, problems: Iterable[Problem]) -> None:
        """Record problems that another pass has reported."""
        for problem in problems:
            self.add(problem.code, problem.message, problem.position, problem.file)

    def raise_if_any(self, reached: Mapping[str, tuple[Position, ...]] | None = None) -> None:
        """Raise :class:`SpecError` if there are problems.

        Args:
            reached: For each file, the references through which it was reached.
        """
        if not self._found:
            return
        files: dict[str | None, int] = {}
        for problem in self._found:
            files.setdefault(_file(problem), len(files))
        ordered = sorted(self._found, key=lambda problem: (files[_file(problem)], _place(problem)))
        paths = {file: (reached or {}).get(file or "", ()) for file in files}
        raise SpecError(
            replace(problem, reached=paths[_file(problem)]) if paths[_file(problem)] else problem for problem in ordered
        )


def fail(code: str, message: str, position: Position | None = None, file: str | None = None) -> SpecError:
    """Return a :class:`SpecError` with a single problem."""
    return SpecError((Problem(code, message, position, file),))


def quote(value: object, limit: int = 60) -> str:
    """Return a value as messages show it: text in quotes, long values shortened, control characters escaped.

    Addresses are shown without user, password, query and fragment.
    """
    if isinstance(value, str):
        value = shown_address(value)
        value = value[: limit - 3] + "..." if len(value) > limit else value
    text = repr(value)
    return text if len(text) <= 4 * limit else text[: limit - 3] + "..."


def closest(name: str, choices: Iterable[str], count: int = 1) -> list[str]:
    """Return the ``count`` choices most similar to ``name``, best first; those that begin with it before others."""
    if len(name) > 64:
        return []
    from difflib import get_close_matches

    folded = {choice.lower(): choice for choice in choices}
    found = get_close_matches(name.lower(), folded, n=max(count, 3), cutoff=0.6)
    begin_with_it = sorted(found, key=lambda match: not match.startswith(name.lower()))
    return [folded[match] for match in begin_with_it[:count]]


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'depth'?"`` with the most similar choice, or an empty string if none is similar."""
    return _suggestion(closest(name, choices))


def _suggestion(names: Sequence[str]) -> str:
    if not names:
        return ""
    *others, last = map(quote, names)
    return f"; did you mean {', '.join(others)} or {last}?" if others else f"; did you mean {last}?"


def _file(problem: Problem) -> str | None:
    return problem.position.file if problem.position is not None else problem.file


def _place(problem: Problem) -> tuple[int, int]:
    return (problem.position.line, problem.position.column) if problem.position is not None else (0, 0)


def _clean(text: str) -> str:
    """Replace characters that could control a terminal by spaces."""
    return "".join(char if char.isprintable() else " " for char in text)


def _columns(text: str) -> int:
    """Return the width of a text in a terminal."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(bool(unicodedata.combining(char)) for char in text)


@lru_cache(maxsize=8)  # many errors may lie on one long line
def _printed(line: str) -> tuple[str, bool]:
    """Return a source line as it may be printed, before secrets are cut out, and whether it holds any."""
    text = _clean(line)
    return text, without_secrets(text) != text


def _excerpt(position: Position) -> list[str]:
    """Return the source line, cut if it is long, and a line of carets under the value."""
    (text, secret), start = _printed(position.text), position.column - 1
    position_end = start + position.length
    if secret and len(text) > _MAX_SECRET_LINE:
        return []
    if secret:
        # Secrets are cut out, and the carets moved.
        start, position_end = (len(without_secrets(text[:place])) for place in (start, position_end))
        text = without_secrets(text)
    first = len(text) - len(text.lstrip())
    last = len(text.rstrip())
    if last - first > _MAX_LINE:
        first = max(first, min(start - _MAX_LINE // 3, last - _MAX_LINE))
        last = min(last, first + _MAX_LINE)
    first = min(first, start)
    length = max(1, min(position_end, last) - start)
    carets = " " * _columns(text[first:start]) + "^" * max(1, _columns(text[start : start + length]))
    return ["    " + text[first:last].rstrip(), "    " + carets]
