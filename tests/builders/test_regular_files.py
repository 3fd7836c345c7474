"""Only regular files are read: pipes could wait forever, and devices never end."""

from __future__ import annotations

import os

import pytest

from builders.files import open_regular, read_regular


def test_regular_files(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("a")
    assert read_regular(tmp_path / "a") == read_regular(tmp_path / "link", 3) == b"abc"
    with pytest.raises(OSError, match="larger than 2 bytes"):
        read_regular(tmp_path / "a", 2)
    with open_regular(tmp_path / "a") as file:
        assert file.read() == b"abc"


def test_others_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for path in (tmp_path / "pipe", tmp_path / "link", "/dev/zero", "/dev/null"):
        with pytest.raises(OSError, match="not a regular file"):
            read_regular(path)
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "gone")
    with pytest.raises(ValueError, match="null"):
        open_regular("a\0b")


def test_a_pipe_among_the_shards_of_a_card(tmp_path, cli):
    (tmp_path / "set").mkdir()
    os.mkfifo(tmp_path / "set" / "a.tar")
    (tmp_path / "set" / "dataset.yaml").write_text("name: x\nsplits: {train: {shards: [a.tar]}}\n")
    for command in (("data", "inspect", tmp_path / "set"), ("data", "encode", tmp_path / "set", "states", "-q")):
        code, out, err = cli(*command)
        assert code and "a.tar: not a file" in out + err
