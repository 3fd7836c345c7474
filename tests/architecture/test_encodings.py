"""Text files are UTF-8, whatever the locale: every call that reads or writes text names the encoding."""

from __future__ import annotations

import ast

import pytest

from tests.helpers.paths import ROOT

PACKAGES = ("specs", "builders", "registry", "zoo", "benchmarks", "examples")


def without_encoding(source: str) -> list[int]:
    """The lines of calls that read or write text in the encoding of the locale."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or any(keyword.arg == "encoding" for keyword in node.keywords):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        method = isinstance(node.func, ast.Attribute)
        modes = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        text = any(mode.strip("+x") in ("r", "w", "a", "rt", "wt") for mode in modes[-1:])
        if (
            (name == "read_text" and method and not node.args and not node.keywords)
            or (name == "write_text" and method and len(node.args) == 1)
            or (name == "open" and ((not method and not any("b" in mode for mode in modes)) or (method and text)))
        ):
            found.append(node.lineno)
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_text_files_have_an_encoding(package):
    # Archives have modes too, and click has a method write_text.
    others = ("tarfile.open", "formatter.write_text")
    wrong = []
    for path in sorted((ROOT / package).rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        lines = source.splitlines()
        for line in without_encoding(source):
            if not any(name in lines[line - 1] for name in others):
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {lines[line - 1].strip()}")
    assert wrong == []


def test_the_rule():
    bad = ["open('x')", "open('x', 'w')", "p.open('a')", "p.read_text()", "p.write_text('x')", "open(p, mode)"]
    good = ["open('x', 'rb')", "p.open('a', encoding='utf-8')", "p.read_text('utf-8')", "p.write_text('x', 'utf-8')"]
    assert all(without_encoding(line) for line in bad) and not any(map(without_encoding, good))
