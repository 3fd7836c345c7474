"""The five ways through the code that docs/architecture.md names."""

from __future__ import annotations

import re
from functools import reduce
from importlib import import_module

import pytest

from tests.helpers.paths import DOCS

SECTION = (DOCS / "architecture.md").read_text(encoding="utf-8").split("## Five ways")[1].split("\n## ")[0]
WAYS = {
    line.partition(":")[0]: re.findall(r"`([\w.]+)`", line) for line in SECTION.splitlines() if line.startswith("- ")
}


def find(name: str) -> object:
    """Import the longest module in a dotted name, and take the rest as attributes."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            module = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        return reduce(getattr, parts[end:], module)
    raise AssertionError(name)


def test_there_are_five():
    assert len(WAYS) == 5 and all(len(names) > 4 for names in WAYS.values())


@pytest.mark.parametrize("way", WAYS)
def test_every_name_exists(way):
    for name in WAYS[way]:
        assert callable(find(name)), name
