"""MLflow stores that cost no time: one is created per session and copied, because its migrations take seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from registry.tracking.store import initialise_store


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of an empty store, which is not to be written to."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)  # where its artifacts go
        initialise_store(f"sqlite:///{path}")
    return path


@pytest.fixture
def uri(empty_store: Path, tmp_path: Path) -> str:
    """Return the address of an empty store of the test."""
    return f"sqlite:///{shutil.copy(empty_store, tmp_path / 'mlflow.db')}"


@pytest.fixture(scope="module")
def shared_uri(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a store that the tests of a module share."""
    return f"sqlite:///{shutil.copy(empty_store, tmp_path_factory.mktemp('shared') / 'mlflow.db')}"
