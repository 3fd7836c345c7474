"""Every way in which a spec can be wrong gives its one report, to the letter.

``tests/specs/bad_specs/NAME.yaml`` is the spec, ``NAME.txt`` the report. After a change of wording, write the reports
again with ``python -m tests.specs.test_bad_specs`` and read the difference.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from specs.errors import CODES, SpecError
from specs.load import load_entry

FOLDER = Path(__file__).parent / "bad_specs"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def report(name: str) -> str:
    with pytest.raises(SpecError) as error:
        load_entry(f"./{name}.yaml")
    assert all(problem.code in CODES for problem in error.value.problems)
    return str(error.value).replace(str(FOLDER.parent.parent) + os.sep, "") + "\n"


@pytest.mark.parametrize("name", NAMES)
def test_report(name, monkeypatch):
    monkeypatch.chdir(FOLDER)
    started = time.process_time()
    text = report(name)
    assert time.process_time() - started < 1
    assert text == (FOLDER / f"{name}.txt").read_text()


def make(path: Path, kind: str) -> None:
    if kind == "directory":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(bytes(range(256)) * 50)
    elif kind == "zeros":
        path.write_bytes(b"name: x\0\0")
    elif kind == "100 MB":
        with path.open("wb") as file:
            file.truncate(100 * 2**20)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "x.yaml: error[missing-file]: no such file"),
        ("directory", "x.yaml: error[not-a-file]: this is a directory; a YAML file is needed"),
        ("binary", "x.yaml: error[not-text]: this is not UTF-8 text"),
        ("zeros", "x.yaml: error[not-text]: this is a binary file"),
        ("100 MB", "x.yaml: error[too-large]: the file has 104,857,600 bytes, but a spec has at most 1,000,000"),
    ],
)
def test_file_as_a_whole(kind, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "x.yaml", kind)
    with pytest.raises(SpecError) as error:
        load_entry("x.yaml")
    assert str(error.value) == message


if __name__ == "__main__":
    os.chdir(FOLDER)
    for each in NAMES:
        Path(f"{each}.txt").write_text(report(each))
