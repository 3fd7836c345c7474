"""Apply changes from the command line, such as ``stages.r64.width=96`` or ``nest.stages.r16.depth=1``."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from dataclasses import replace

from specs.errors import Position, Problems, SpecError, did_you_mean, quote
from specs.printable import printable
from specs.syntax import yaml_tree as source
from specs.syntax.merge import merge
from specs.syntax.validation import MEMBERS
from specs.syntax.yaml_tree import Entry, Mapping, Tree

__all__ = ["apply_overrides", "set_option"]

_FIXED = ("extends", "variants")
#: Keys whose members an override may change but not add.
_CLOSED = ("stages", "graph", "phases")
_MAX_STEPS = 60
#: Most names that an error lists.
_MOST_NAMED = 12


def apply_overrides(tree: Mapping, overrides: Sequence[str]) -> Mapping:
    """Merge overrides into a tree, each as if it were an entry that extends it.

    Args:
        tree: Entry, recipe or study with its references resolved.
        overrides: Changes as ``PATH=VALUE``: keys joined by dots, and a value in YAML. ``null`` removes the key.

    Raises:
        SpecError: An override is malformed, or its path does not exist.
    """
    problems = Problems()
    for number, text in enumerate(overrides, 1):
        try:
            tree = merge(tree, _Override(text, f"<override {number}>").change(tree))
        except SpecError as error:
            problems.extend(error.problems)
    problems.raise_if_any()
    return tree


def set_option(*keys: str, value: str = "N") -> str:
    """Return the option that sets a value, for advice in messages: ``--set phases.p16.steps=N``.

    A key that an option cannot name, such as one with a dot, is named for a change of the file.
    """
    if all(key and key.isprintable() and not set(key) & {".", "="} for key in keys):
        return f"--set {shlex.quote('.'.join(keys) + '=' + value)}"
    return f"{' > '.join(map(printable, keys))}: {value} in the file"


class _Override:
    """One override, parsed and checked against the tree that it changes."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        path, self.equals, self.value = text.partition("=")
        self.steps = path.split(".")

    def change(self, tree: Mapping) -> Mapping:
        """Return the override as a mapping to merge.

        Raises:
            SpecError: It is malformed, or its path does not exist.
        """
        problems = Problems()
        whole = self._position(0, len(self.text))
        if not self.equals or not all(self.steps) or "\n" in self.text or len(self.steps) > _MAX_STEPS:
            problems.add("bad-override", f"an override is PATH=VALUE on one line, not {quote(self.text)}", whole)
        elif self.steps[0] in _FIXED:
            problems.add("bad-override", f"{quote(self.steps[0])} cannot be overridden", whole)
        else:
            self._check_path(tree, problems)
        problems.raise_if_any()
        node = self._value()
        for index in reversed(range(len(self.steps))):
            key = self._step(index)
            node = Mapping({self.steps[index]: Entry(key, node)}, key)
        assert isinstance(node, Mapping)
        return node

    def _position(self, start: int, length: int) -> Position:
        return Position(self.file, 1, start + 1, max(1, length), self.text.replace("\n", " "))

    def _step(self, index: int) -> Position:
        return self._position(sum(len(step) + 1 for step in self.steps[:index]), len(self.steps[index]))

    def _check_path(self, tree: Mapping, problems: Problems) -> None:
        """Check that stages, nodes and phases in the path exist: an override changes them and adds whole phases."""
        at: Tree | None = tree
        for index, step in enumerate(self.steps):
            if not isinstance(at, Mapping):
                return
            above = self.steps[index - 1] if index else ""
            last = index == len(self.steps) - 1
            if step not in at.entries:
                if above == "phases" and last and self.value.lstrip().startswith("{"):
                    return
                if above in _CLOSED:
                    hint = did_you_mean(step, at.entries) or _listed(at.entries)
                    message = f"there is no {MEMBERS[above]} {quote(step)} here{hint}"
                    problems.add("bad-override", message, self._step(index))
                elif step in (*_CLOSED, "nest") and not last:
                    problems.add("bad-override", f"there is no {quote(step)} here to change", self._step(index))
            at = at.get(step)

    def _value(self) -> Tree:
        # Parsed as a list item, so that an empty value is null rather than an empty file.
        try:
            tree = source.parse_text(f"- {self.value}", self.file)
        except SpecError as error:
            # The parser's positions include the list item's dash.
            place = self._position(self.text.index("=") + 1, len(self.value))
            raise SpecError(replace(problem, position=place) for problem in error.problems) from None
        assert isinstance(tree, source.Sequence)
        return self._moved(tree.items[0], self.text.index("=") + 1 - 2)

    def _moved(self, tree: Tree, offset: int) -> Tree:
        """Return a parsed value with its positions moved to those in the override."""

        def move(position: Position) -> Position:
            return replace(position, column=max(1, position.column + offset), text=self.text)

        if isinstance(tree, Mapping):
            entries = {
                key: Entry(move(entry.key), self._moved(entry.value, offset)) for key, entry in tree.entries.items()
            }
            return Mapping(entries, move(tree.position))
        if isinstance(tree, source.Sequence):
            return source.Sequence(tuple(self._moved(item, offset) for item in tree.items), move(tree.position))
        return source.Scalar(tree.value, move(tree.position))


def _listed(names: Collection[str]) -> str:
    """Return the first names as the end of a sentence; empty without any."""
    more = ", ..." if len(names) > _MOST_NAMED else ""
    return f"; there are {', '.join(list(names)[:_MOST_NAMED])}{more}" if names else ""
