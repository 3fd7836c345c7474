"""Fixtures that make tracking cheap to test: an empty store is created once and copied, and runs are short."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from registry.tracking.store import initialize_store
from specs.recipe import Recipe, load_recipe


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of an empty store. Creating it takes seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)  # where its artifacts go
        initialize_store(f"sqlite:///{path}")
    return path


@pytest.fixture
def uri(empty_store: Path, tmp_path: Path) -> str:
    """Return the address of an empty store for one test."""
    return f"sqlite:///{shutil.copy(empty_store, tmp_path / 'mlflow.db')}"


@pytest.fixture(scope="module")
def shared_uri(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a store that the tests of a module share."""
    return f"sqlite:///{shutil.copy(empty_store, tmp_path_factory.mktemp('shared') / 'mlflow.db')}"


@pytest.fixture
def recipe(images: Path) -> Recipe:
    """Return a recipe of two phases with two steps each."""
    changes = [f"phases.{phase}.{change}" for phase in ("p8", "p16") for change in ("steps=2", "batch=2")]
    return load_recipe("micro-test", [*changes, "every.evaluate=1", f"data={images}"])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses between calls to a store."""
    for name in ("SECONDS", "FIRST_PAUSE", "CLOSING_PAUSE"):
        monkeypatch.setattr(f"registry.tracking.sender_thread.{name}", 0.05)
    monkeypatch.setattr("registry.tracking.sender_thread.LAST_PAUSE", 0.2)
    monkeypatch.setattr("registry.tracking.resend.PAUSE", 0.05)
