"""What a reader leaves out: counted by kind, with examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from specs.printable import printable

__all__ = ["LeftOut", "LeftOutWarning"]

#: Number of names that a line shows.
NAMED = 3


class LeftOutWarning(UserWarning):
    """Files or members of a dataset are not read."""


@dataclass
class LeftOut:
    """Files or members that are not read, by kind ("links", "files named .psd").

    Attributes:
        counts: Number of names by kind.
        examples: The first names by kind.
        minor: Kinds that are counted but cause no warning in training, such as types of files that hold no images.
    """

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    minor: set[str] = field(default_factory=set)

    def add(self, kind: str, name: str, *, minor: bool = False) -> None:
        """Count a name of a kind."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if minor:
            self.minor.add(kind)
        shown = self.examples.setdefault(kind, [])
        if len(shown) < NAMED:
            shown.append(printable(name))

    def update(self, other: LeftOut) -> None:
        """Add all counts of another."""
        for kind, count in other.counts.items():
            names = other.examples[kind]
            for name in names:
                self.add(kind, name)
            self.counts[kind] += count - len(names)
        self.minor |= other.minor

    def lines(self, *, minor: bool = True) -> tuple[str, ...]:
        """Return a line per kind: ``links: 3 (a, b, c)``; minor kinds only if asked for."""
        kinds = (kind for kind in self.counts if minor or kind not in self.minor)
        return tuple(_line(kind, self.counts[kind], self.examples) for kind in kinds)

    def __bool__(self) -> bool:
        return bool(self.counts)


def _line(kind: str, count: int, examples: Mapping[str, list[str]]) -> str:
    shown = examples[kind]
    more = ", ..." if count > len(shown) else ""
    return f"{printable(kind)}: {count:,} ({', '.join(shown)}{more})"
