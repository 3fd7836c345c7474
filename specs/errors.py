"""What can be wrong with a spec, and how it is told: positions, problems, codes and their rendering."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

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

#: Every code that stands in brackets after ``error``, and what it means. Codes are stable.
CODES: dict[str, str] = {
    # the file as a whole
    "missing-file": "the file does not exist",
    "not-a-file": "the path is a directory, a pipe or a device",
    "unreadable": "the file cannot be opened",
    "not-text": "the file is not UTF-8 text",
    "empty": "the file holds no value",
    "too-large": "the file, or what it describes, exceeds a limit",
    # the text
    "syntax": "not YAML",
    "too-deep": "brackets or indentation are nested too deeply",
    "duplicate-key": "a mapping has the same key twice",
    "bad-key": "a key is not a plain string",
    "anchor": "anchors, aliases and merge keys are refused; use extends or defaults",
    "tag": "YAML tags are refused",
    "document": "a file holds one document",
    "bad-number": "a number is infinite, not a number or too large",
    "null": "a value is missing, or null has no inherited key to remove",
    # the keys and their values
    "unknown-key": "a key that the language does not have",
    "missing-key": "a key that must be given",
    "wrong-type": "a value of the wrong type",
    "out-of-range": "a number beyond its limits",
    "bad-value": "a value that is not one of those allowed",
    "conflict": "two keys that exclude each other",
    "misplaced": "a key that only another level may have",
    # references
    "unknown-entry": "no entry has this name",
    "unknown-tag": "no tag has this name",
    "name-mismatch": "the file's name and the entry's name differ",
    "cyclic-reference": "entries that nest or extend each other in a circle",
    "bad-override": "an override that is not PATH=VALUE or whose path leads nowhere",
    # the graph
    "unknown-block": "no block has this name",
    "unknown-node": "a node reads one that does not exist",
    "duplicate-node": "two nodes of a level have the same name",
    "bad-name": "a name that is reserved or badly formed",
    "graph-cycle": "nodes that read each other in a circle",
    "dead-node": "a node whose output reaches nothing",
    "nest-node": "a level that nests has one node called nest, and only such a level",
    "size-mismatch": "tensors of unequal size meet",
    "bad-width": "a width that does not fit the block",
    "bad-resolution": "a resolution that does not fit",
    "bad-nesting": "resolutions that do not nest",
}

#: A report lists this many problems and counts the rest.
MAX_REPORTED = 20
_MAX_LINE = 110


@dataclass(frozen=True, slots=True)
class Position:
    """Where a value was written: file, line and column from 1, and how many characters it spans."""

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
    """One thing that is wrong. A problem of a file as a whole has ``file`` and no position."""

    code: str
    message: str
    position: Position | None = None
    file: str | None = None
    #: References that led to the file, outermost first.
    reached: tuple[Position, ...] = ()

    def __str__(self) -> str:
        where = self.position or self.file
        head = f"error[{self.code}]: {self.message}"
        lines = [f"{where}: {head}" if where else head]
        if self.position is not None and self.position.text.strip():
            lines += _excerpt(self.position)
        for step in reversed(self.reached):
            lines.append(f"  reached through {step}: {_clean(step.text.strip())[:_MAX_LINE]}")
        return "\n".join(lines)


class SpecError(ValueError):
    """A spec is wrong; ``problems`` says where and why, ``str()`` is the whole report."""

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
    """No entry has the name that was asked for; ``suggestions`` are the closest ones."""

    def __init__(self, name: str, suggestions: Sequence[str] = (), what: str = "entry") -> None:
        self.name, self.suggestions, self.what = name, tuple(suggestions), what
        super().__init__(name, self.suggestions, what)

    def __str__(self) -> str:
        if not self.suggestions:
            return f"no {self.what} is called {quote(self.name)}"
        return f"no {self.what} is called {quote(self.name)}; did you mean {_either(self.suggestions)}?"


class AmbiguousName(UnknownName):
    """A part of several names was given where one is needed; ``suggestions`` are those names."""

    def __str__(self) -> str:
        return f"{quote(self.name)} may be any of {', '.join(self.suggestions)}; give the whole name"


class Problems:
    """The problems of one pass, collected so that all of them are reported together."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def full(self) -> bool:
        """Whether more than a report shows has been found, so that suggestions are no longer worth their time."""
        return len(self._found) > MAX_REPORTED

    def add(self, code: str, message: str, position: Position | None = None, file: str | None = None) -> None:
        """Record a problem; the same problem at the same place counts once."""
        assert code in CODES, code
        self._found.setdefault(Problem(code, message, position, file), None)

    def raise_if_any(self, reached: Mapping[str, tuple[Position, ...]] | None = None) -> None:
        """Raise :class:`SpecError` if anything was recorded; ``reached`` says how each file was come by."""
        if not self._found:
            return
        files: dict[str | None, int] = {}
        for problem in self._found:
            files.setdefault(_file(problem), len(files))
        ordered = sorted(self._found, key=lambda problem: (files[_file(problem)], _place(problem)))
        raise SpecError(replace(problem, reached=(reached or {}).get(_file(problem) or "", ())) for problem in ordered)


def fail(code: str, message: str, position: Position | None = None, file: str | None = None) -> SpecError:
    """A :class:`SpecError` of a single problem, to raise."""
    return SpecError((Problem(code, message, position, file),))


def quote(value: object, limit: int = 60) -> str:
    """A value as it stands in messages: quoted if text, shortened if long, control characters escaped."""
    if isinstance(value, str) and len(value) > limit:
        value = value[: limit - 3] + "..."
    text = repr(value)
    return text if len(text) <= 4 * limit else text[: limit - 3] + "..."


def closest(name: str, choices: Iterable[str], count: int = 1) -> list[str]:
    """The ``count`` choices that look most like ``name``, best first."""
    if len(name) > 64:
        return []
    from difflib import get_close_matches

    folded = {choice.lower(): choice for choice in choices}
    return [folded[match] for match in get_close_matches(name.lower(), folded, n=count, cutoff=0.6)]


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """``"; did you mean 'depth'?"``, or nothing if no choice is close."""
    matches = closest(name, choices)
    return f"; did you mean {quote(matches[0])}?" if matches else ""


def _either(names: Sequence[str]) -> str:
    quoted = [quote(name) for name in names]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " or " + quoted[-1]


def _file(problem: Problem) -> str | None:
    return problem.position.file if problem.position is not None else problem.file


def _place(problem: Problem) -> tuple[int, int]:
    return (problem.position.line, problem.position.column) if problem.position is not None else (0, 0)


def _clean(text: str) -> str:
    """Text that cannot move the cursor of a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def _columns(text: str) -> int:
    """Width of a text in a terminal."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(bool(unicodedata.combining(char)) for char in text)


def _excerpt(position: Position) -> list[str]:
    """The source line and the carets under the value, cut to a window where the line is long."""
    text = _clean(position.text)
    start = position.column - 1
    first = len(text) - len(text.lstrip())
    last = len(text.rstrip())
    if last - first > _MAX_LINE:
        first = max(first, min(start - _MAX_LINE // 3, last - _MAX_LINE))
        last = min(last, first + _MAX_LINE)
    first = min(first, start)
    length = max(1, min(position.length, last - start))
    carets = " " * _columns(text[first:start]) + "^" * max(1, _columns(text[start : start + length]))
    return ["    " + text[first:last].rstrip(), "    " + carets]
