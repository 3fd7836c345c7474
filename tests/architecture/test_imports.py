"""The house: each package imports only those above it, heavy libraries come late, and a wheel holds everything."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

#: In the order in which data flows.
PACKAGES = ("specs", "builders", "registry", "zoo")
HEAVY = (
    "torch",
    "torchvision",
    "mlflow",
    "timm",
    "networkx",
    "matplotlib",
    "accelerate",
    "webdataset",
    "pyarrow",
    "av",
)
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imports(tree: ast.AST, *, top_level_only: bool) -> set[str]:
    """Packages a module imports; at top level, those that importing it imports (not under TYPE_CHECKING)."""
    names: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
        elif top_level_only and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        elif top_level_only and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            names |= imports(ast.Module(node.orelse, []), top_level_only=True)
        else:
            names |= imports(node, top_level_only=top_level_only)
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    everywhere, at_import = imports(tree, top_level_only=False), imports(tree, top_level_only=True)
    below = set(PACKAGES[PACKAGES.index(package) + 1 :])
    assert not everywhere & below, f"{package} must not import {everywhere & below}"
    if package == "specs":
        assert not everywhere & {"torch", "mlflow", "timm"}
    if package == "builders":
        assert "mlflow" not in everywhere
    else:
        assert not at_import & {"torch", "mlflow", "timm"}, "import it inside the function that needs it"


def fresh(code: str, cwd: Path | None = None, **environment: str) -> str:
    """Run code in a new interpreter and return what it prints."""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment})
    assert result.returncode == 0, result.stderr
    return result.stdout


LOADED = f"; import sys; print([name for name in {HEAVY} if name in sys.modules])"


@pytest.mark.parametrize(
    "code",
    [
        "import zoo; zoo.list(); zoo.list('mdm-*'); zoo.Entry",
        "import builders.data.packing.sources, builders.data.packing.shard",
        "import zoo; e = zoo.get('mdm-s1024'); e.spec, e.hash, e.graph_hash, e.card(), e.expanded_yaml()",
        "import specs.load, registry.catalogue, registry.costs.card, registry.publishing.diagram, zoo.commands.app",
        "from zoo.cli import run; import io, contextlib\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    commands = ['list'], ['show', 'mdm-s1024'], ['check', 'mdm-s64', 'nano-progressive'], ['--help']\n"
        "    assert [run(words) for words in commands] == [0, 0, 0, 0]\npass",
    ],
)
def test_light_imports(code):
    assert fresh(code + LOADED).strip() == "[]"


def test_importing_zoo_imports_nothing_of_the_zoo():
    code = f"import zoo, sys; print([name for name in sys.modules if name.partition('.')[0] in {PACKAGES}])"
    assert fresh(code).strip() == "['zoo']"


def test_listing_names_loads_no_schemas():
    """Pydantic takes twice as long to import as everything else that ``zoo.list()`` needs."""
    assert fresh("import zoo, sys; zoo.list(); print('pydantic' in sys.modules)").strip() == "False"


def test_networkx_comes_with_the_graph():
    assert "networkx" in fresh("import zoo; zoo.get('mdm-nano').graph" + LOADED)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_every_file(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    shipped = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc" and not any(p.startswith(".") for p in path.relative_to(ROOT).parts)
    }
    assert shipped <= names, shipped - names
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert not {name.partition("/")[0] for name in names} & {"tests", "docs", "benchmarks"}
    assert not any(name.endswith(".pyc") for name in names)


def test_a_wheel_works_from_another_folder(wheel, tmp_path):
    """Unpacked elsewhere and used from a folder that has a ``specs`` of its own."""
    site, work = tmp_path / "site", tmp_path / "work"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (work / "specs").mkdir(parents=True)
    code = (
        "import zoo, specs.load, registry.costs.card; from pathlib import Path\n"
        "print(Path(zoo.__file__).parent.parent, zoo.get('mdm-s1024').card().parameters, len(zoo.list()))"
    )
    place, parameters, count = fresh(code, cwd=work, PYTHONPATH=str(site), ZOO_PATH="").split()
    assert Path(place) == site
    assert parameters == "480970057"
    assert int(count) >= 6
