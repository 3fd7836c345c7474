"""The Python of the README and of the pages runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.paths import DOCS, ROOT

README = ROOT / "README.md"
#: Number of the last block of a page that is fast enough for every run of the tests.
FAST = {README: 1, DOCS / "sampling.md": 1}


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def run(page: Path, count: int | None) -> dict[str, object]:
    """Run the blocks of a page one after the other, in one namespace."""
    names: dict[str, object] = {}
    for number, block in enumerate(blocks(page)[:count], 1):
        exec(compile(block, f"{page.name}, block {number}", "exec"), names)
    return names


def test_all_python_is_found():
    pages = [page for page in (README, *DOCS.glob("*.md")) if blocks(page)]
    assert set(pages) == {README, DOCS / "data.md", DOCS / "sampling.md", DOCS / "training.md"}


def test_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run(README, FAST[README])
    assert [tuple(prediction.shape) for prediction in names["predictions"]] == [(2, 3, s, s) for s in (64, 32, 16)]
    assert {label: len(images) for label, images in names["images"].items()} == {"r64": 2, "r32": 2, "r16": 2}


def test_sampling(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run(DOCS / "sampling.md", FAST[DOCS / "sampling.md"])
    assert len(names["images"]["r64"]) == 4


def test_data():
    data = run(DOCS / "data.md", None)["data"]
    assert (data.frames, data.resolution, len(data)) == (8, 32, 15498)


@pytest.mark.slow
def test_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(DOCS / "training.md", None)["weights"] == Path("runs/mine/ema.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("page", FAST, ids=lambda page: page.name)
def test_whole_pages(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    names = run(page, None)
    if page == README:
        assert any(name.startswith("kid_") for name in names["measured"].metrics)
