"""File names of names that users choose."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.file_names import file_name, original_name

BAD = [
    "../../x", "a/b", "a\\b", "", ".", "..", "con", "CON.txt", "nul", "aux.a.b", "COM1", "a\nb", "\x00", "\x1b[31m",
    " a", "a ", "a.", "~", "~root", "-rf", ".hidden", "a:b", "50%", "%2e%2e%2f", "a#b", "*?", '"', "\u202ea", "\ud800",
    "/etc/passwd", "C:\\x", "x" * 300, "红" * 300, "~2F" * 99, "~-abc", "\u2028", "\u00a0",
]  # fmt: skip
ORDINARY = [
    "p16", "P16", "stage 1", "p16.first", "a-b_c", "phase é", "红色", "lr=0.1", "a+b", "v1,2", "(x)", "control",
    "connect", "a@b", "flags", "nul-a",
]  # fmt: skip


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_names_are_unchanged(name: str) -> None:
    assert file_name(name) == original_name(name) == name


@pytest.mark.parametrize("name", BAD)
def test_other_names_become_files_in_the_folder(name: str, tmp_path: Path) -> None:
    found = file_name(name)
    assert found and found != name
    assert not set(found) & set('/\\<>:"|?*#%\n\0') and found[0] not in ". -" and found[-1] not in ". "
    assert len(found.encode()) <= 120 and found.split(".")[0].lower() not in ("con", "nul", "aux", "com1", "prn")
    (tmp_path / f"{found}-000001.png").touch()
    assert (tmp_path / f"{found}-000001.png").resolve().parent == tmp_path.resolve()
    if len(name) < 30:
        assert original_name(found) == name


def test_different_names_have_different_files() -> None:
    names = [*BAD, *ORDINARY, "~2F", "/", "~7E2F", "x" * 301, "x" * 299 + "y", "~"]
    assert len({file_name(name) for name in names}) == len(set(names))


def test_names_that_differ_in_case_have_different_files_on_every_system() -> None:
    names = ["Flags", "flags", "FLAGS", "stra\u00dfe", "STRASSE", "caf\u00e9", "cafe\u0301", "\u212b", "\u00c5"]
    found = [file_name(name, names) for name in names]
    assert len({name.casefold() for name in found}) == len(names)
    assert found[0] == "Flags" and found[5] == "caf\u00e9"
    assert file_name("flags", names) == file_name("flags", names)
    assert original_name(found[1]) is None


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_two_names(one: str, other: str) -> None:
    a, b = file_name(one, [one, other]), file_name(other, [one, other])
    assert (a == b) == (one == other)
    assert original_name(a) in (one, None)
    assert len(a.encode()) <= 120 and "/" not in a and "\0" not in a


def test_letters_that_the_locale_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "ascii")
    assert file_name("caf\u00e9") == "caf~C3~A9"
    assert original_name("caf~C3~A9") == "caf\u00e9"
