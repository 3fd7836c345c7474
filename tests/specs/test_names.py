"""Misspelt, renamed, ambiguous and unknown names, aliases and filters."""

from __future__ import annotations

import os
import sys
import warnings

import pytest

import zoo
from specs.errors import AmbiguousName, UnknownName
from specs.passes.check import check_level

SMALL = "name: {name}\nresolution: 16\ntime: {{width: 64}}\nstages:\n  r16: {{width: 32}}\n  r8: {{width: 32}}\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mdm-s65", "no entry is called 'mdm-s65'; did you mean 'mdm-s64'"),
        ("zzz", "no entry is called 'zzz'"),
        ("", "no entry is called ''"),
        ("s1024", "'s1024' matches mdm-s1024, mdm-s1024.in1k; give the full name"),
        ("unetpp", "'unetpp' matches unetpp-n64, unetpp-s64; give the full name"),
        ("resunet", "no entry is called 'resunet'; did you mean 'resunet-s64'?"),
    ],
)
def test_messages(name, message):
    with pytest.raises(LookupError) as caught:
        zoo.get(name)
    assert str(caught.value).startswith(message)


def test_ambiguous():
    with pytest.raises(AmbiguousName, match="mdm-nano") as caught:
        zoo.get("mdm")
    assert isinstance(caught.value, UnknownName)
    assert {"mdm-nano", "mdm-s64"} <= set(caught.value.suggestions)


def test_alias():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert zoo.get("mdm-256") == zoo.get("mdm-s256")
        assert zoo.get("mdm-256.in1k") == zoo.get("mdm-s256.in1k")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "names").mkdir()
    (tmp_path / "new.yaml").write_text(SMALL.format(name="new"))
    (tmp_path / "names" / "mine.yaml").write_text(
        "renamed: {old: new, older: old}\naliases: {short: new, gone: nothing}\n"
    )
    monkeypatch.setenv("ZOO_PATH", str(tmp_path))
    return tmp_path


def test_renamed(folder):
    with pytest.warns(FutureWarning, match="entry 'old' is now 'new'"):
        entry = zoo.get("old")
    assert entry.name == "new"
    assert zoo.get("short") == zoo.get("new")
    # Names of names, and names of nothing, lead nowhere.
    for name in ("older", "gone"):
        with pytest.raises(LookupError):
            zoo.get(name)
    assert "old" not in zoo.list()


def test_a_file_named_like_an_alias_wins(folder):
    (folder / "short.yaml").write_text(SMALL.format(name="short"))
    assert zoo.get("short").name == "short"


def test_a_renamed_entry_on_the_command_line(folder, cli):
    code, out, err = cli("check", "old")
    assert code == 0 and "OK entry new" in out
    assert err == "warning: entry 'old' is now 'new'; the old name will be removed\n"


@pytest.mark.parametrize(
    ("filters", "inside", "outside"),
    [
        ({"kind": "image"}, "mdm-s64", None),
        ({"resolution": 64}, "mdm-s64", "mdm-s256"),
        ({"depth": 1}, "unet-s64", "mdm-s256"),
        ({"depth": 3}, "mdm-s1024", "mdm-s256"),
        ({"parameters_below": 10_000_000}, "mdm-nano", "mdm-s64"),
        ({"conditioning": "text"}, "mdm-s64", "mdm-nano"),
        ({"conditioning": "classes"}, "mdm-s64.in1k", "mdm-s64"),
        ({"kind": "video"}, "mdm-s64v", "mdm-s64"),
        ({"kind": "image"}, "mdm-s64", "mdm-s64v"),
        ({"tag": "in1k"}, "mdm-s64.in1k", "mdm-s64"),
        ({"pattern": "mdm-*", "depth": 2}, "mdm-s256", "doll-n32"),
    ],
)
def test_filters(filters, inside, outside):
    names = zoo.list(**filters)
    assert inside in names and outside not in names
    assert names == [name for name in zoo.list() if name in names]


@pytest.mark.parametrize("filters", [{"kind": "sound"}, {"conditioning": "label"}])
def test_filters_that_do_not_exist(filters):
    with pytest.raises(ValueError, match=r"no (kind|conditioning) '\w+'"):
        zoo.list(**filters)


def test_filters_on_the_command_line(cli):
    code, out, _ = cli("list", "--plain", "--depth", "3", "--below", "10M")
    assert code == 0 and out.split() == ["mdm-nano", "mdm-nano-v", "mdm-nano.glyphs", "mdm-nano.text", "triple-n32"]
    assert cli("list", "--below", "much")[0] == 2
    assert "no entry matches depth 9" in cli("list", "--depth", "9")[2]


def test_star_import_of_an_old_module():
    sys.modules.pop("specs.check", None)
    names: dict[str, object] = {}
    with pytest.warns(FutureWarning, match="specs.check is now specs.passes.check"):
        exec("from specs.check import *", names)
    assert names["check_level"] is check_level


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train nosuch", "no recipe is called 'nosuch'; there are micro-test, moving-emoji, "),
        ("train nano-prog", "did you mean 'nano-progressive', 'nano-long' or 'nano-hour'?"),
        ("train mdm-nan", "did you mean the entry 'mdm-nano'?"),
        ("train n32", "no recipe is called 'n32'; it is a study"),
        ("train mdm-nan --data noto-emoji-64", "did you mean 'mdm-nano'"),
        ("train mdm-nano --data noto-emoij-64", "did you mean 'noto-emoji-64'"),
        ("study nosuch", "no study is called 'nosuch'; there are A, A-64, A-glyphs, "),
        ("study n3", "did you mean 'n32'?"),
        ("study nano-hour", "no study is called 'nano-hour'; it is a recipe"),
        ("show nosuch", "no entry is called 'nosuch'; 'zoo list' shows all"),
        ("show nano-hour", "no entry is called 'nano-hour'; it is a recipe"),
        ("sample mdm-nan", "did you mean 'mdm-nano'"),
        ("evaluate nano-progresive", "did you mean the recipe 'nano-progressive'?"),
        ("data inspect noto-emoij-64", "did you mean 'noto-emoji-64'"),
        ("compare mdm-nano mdm-s65", "did you mean 'mdm-s64'"),
        ("match mdm-nano --like mdm-s65", "did you mean 'mdm-s64'"),
        ("card mdm-s65", "did you mean 'mdm-s64'"),
        ("dashboard mdm-s65", "did you mean 'mdm-s64'"),
        ("track mdm-s65", "did you mean 'mdm-s64'"),
    ],
)
def test_commands_suggest_names_of_every_kind(cli, arguments, message):
    code, _, error = cli(*arguments.split())
    assert code == 2 and message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("show mine", "no entry is called 'mine'; for the file in this folder, write mine.yaml"),
        ("show mine-wide", "no entry is called 'mine-wide'; it is a variant in mine.yaml: add the folder of this file"),
        ("train own", "no recipe is called 'own'; for the file in this folder, write own.yml"),
        ("show nosuch", "no entry is called 'nosuch'; 'zoo list' shows all"),
    ],
)
def test_files_of_the_current_folder_are_pointed_at(cli, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("name: mine\nextends: mdm-micro\nvariants:\n  mine-wide: {}\n")
    (tmp_path / "own.yml").write_text("name: own\nextends: micro-test\n")
    code, _, error = cli(*arguments.split())
    assert code == 2 and message in error and error.count("\n") == 1


def test_an_unknown_name_names_the_missing_folder_of_zoo_path(cli, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_PATH", f"{tmp_path}{os.pathsep}{tmp_path / 'nosuch'}")
    code, _, error = cli("show", "zzz")
    assert code == 2 and f"no entry is called 'zzz'; {tmp_path / 'nosuch'} in ZOO_PATH is not a folder" in error
    code, _, error = cli("list", "zzz*")
    assert code == 2 and f"note: ZOO_PATH: {tmp_path / 'nosuch'} is not a folder" in error


@pytest.mark.parametrize("command", ["show", "expand", "draw -o x.svg", "match --like mdm-nano"])
def test_what_reads_the_folder_of_a_run_is_named(cli, monkeypatch, tmp_path, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "ema.safetensors").touch()
    code, _, error = cli(*command.split(), "runs/a")
    assert code == 2 and error.startswith("runs/a: error[not-a-file]: this is the folder of a run; 'zoo card', ")
