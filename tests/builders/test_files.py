"""Temporary files and locks never touch what belongs to others."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from builders.files import file_lock, remove_temporaries, replacing, write_text


def test_temporary_names_cannot_be_guessed_and_fit_any_file_system(tmp_path: Path) -> None:
    path = tmp_path / ("红" * 80 + ".txt")
    with replacing(path) as one, replacing(path) as other:
        assert one != other and len(os.fsencode(one.name)) <= 255
        one.write_text("one")
        other.write_text("other")
        assert [each.name for each in tmp_path.iterdir() if each.name not in (one.name, other.name)] == []
    assert path.read_text() == "one" and len(list(tmp_path.iterdir())) == 1


def test_temporaries_of_one_file_are_removed(tmp_path: Path) -> None:
    ours = [".mlflow.db.7-00000000.zoo.tmp", ".mlflow.db.7-00000000.zoo.tmp-journal"]
    others = [".mlflow.db.notes.tmp", ".other.db.7-00000000.zoo.tmp", ".mlflow.db.7.tmp"]
    for name in (*ours, *others):
        (tmp_path / name).touch()
    remove_temporaries(tmp_path, "mlflow.db")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)
    remove_temporaries(tmp_path / "nosuch")


def test_the_file_is_named_if_the_disk_is_full(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(OSError) as caught, replacing(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as missing, replacing(path):
        pass
    assert missing.value.filename == str(path)
    path.mkdir()
    with pytest.raises(OSError) as folder:
        write_text(path, "x")
    assert folder.value.filename == str(path) and [each.name for each in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("kind", ["link", "broken link", "pipe", "folder"])
def test_a_lock_is_a_regular_file(kind: str, tmp_path: Path) -> None:
    lock, target = tmp_path / ".lock", tmp_path / "target"
    if kind.endswith("link"):
        lock.symlink_to(target)
        if kind == "link":
            target.write_text("precious")
    elif kind == "pipe":
        os.mkfifo(lock)
    else:
        lock.mkdir()
    with pytest.raises(OSError), file_lock(lock):
        pass
    assert target.exists() == (kind == "link") and (not target.exists() or target.read_text() == "precious")


def test_a_lock_keeps_its_contents(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    lock.write_text("notes")
    with file_lock(lock) as held, file_lock(lock, wait=False) as second:
        assert held and not second
    assert lock.read_text() == "notes"
    with file_lock(lock, wait=False) as again:
        assert again
