"""The rooms of docs/architecture.md: no import circle, no arrow against their order, no crowded folder."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import networkx
import pytest

from tests.helpers.paths import DOCS, ROOT

PACKAGES = ("specs", "builders", "registry", "zoo")
MOST_FILES = 20


def modules() -> dict[str, Path]:
    """Dotted names of all modules; a package is named like its folder."""
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    named = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in files}
    return {name.removesuffix(".__init__"): path for name, path in named.items()}


def import_graph(files: dict[str, Path]) -> networkx.DiGraph:
    """An edge from each module to every module of ours that it imports, anywhere in it."""
    graph = networkx.DiGraph()
    graph.add_nodes_from(files)
    for module, path in files.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                full = [f"{node.module}.{alias.name}" for alias in node.names]
                named = [name if name in files else node.module for name in full]
            elif isinstance(node, ast.Import):
                named = [alias.name for alias in node.names]
            else:
                continue
            graph.add_edges_from((module, name) for name in named if name in files and name != module)
    return graph


def rooms() -> dict[str, int]:
    """Rooms and their places in the order, from docs/architecture.md; rooms of equal place must not meet."""
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    found: dict[str, int] = {}
    for package in PACKAGES:
        line = re.search(rf"^    {package}: +(.+(?:\n {{8,}}.+)*)$", page, re.MULTILINE)
        assert line, f"docs/architecture.md has no line '    {package}: ...' with its rooms in order"
        for tier in line[1].split("<"):
            place = len(set(found.values()))
            found |= {package if name == "__init__" else f"{package}.{name}": place for name in tier.split()}
    return found


def room_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


@pytest.fixture(scope="module")
def graph():
    return import_graph(modules())


def test_no_circle_among_files(graph):
    assert [sorted(part) for part in networkx.strongly_connected_components(graph) if len(part) > 1] == []


def test_every_room_has_a_place():
    assert {room_of(name) for name in modules()} == set(rooms())


def test_no_arrow_against_the_order(graph):
    order = rooms()
    wrong = [
        f"{source} imports {target}"
        for source, target in graph.edges
        if room_of(source) != room_of(target) and order[room_of(source)] <= order[room_of(target)]
    ]
    assert wrong == []


def test_no_folder_is_crowded():
    counts: dict[Path, int] = {}
    for path in modules().values():
        counts[path.parent] = counts.get(path.parent, 0) + 1
    assert {str(folder.relative_to(ROOT)): n for folder, n in counts.items() if n > MOST_FILES} == {}


def test_every_package_says_what_it_is_for_and_what_it_imports():
    for path in modules().values():
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert text, path
        if path.name == "__init__.py" and path.parent.name not in PACKAGES:
            assert "Imports " in text, path


def test_no_private_name_is_imported():
    for module, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in PACKAGES:
                private = [alias.name for alias in node.names if alias.name.startswith("_") and alias.name[1] != "_"]
                assert not private, f"{module} imports {private} of {node.module}"
