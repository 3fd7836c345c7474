"""What several test files share."""

from __future__ import annotations

import pytest

from zoo.cli import run


@pytest.fixture
def cli(capsys, monkeypatch, tmp_path):
    """The command line in this process and in an empty folder: arguments to exit code, output and errors."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def call(*arguments: object) -> tuple[int, str, str]:
        code = run([str(argument) for argument in arguments])
        found = capsys.readouterr()
        return code, found.out, found.err

    return call
