"""Names, captions and summaries of others in the terminal: control characters are escaped, brackets are no markup."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from builders.data.packing.layout import Layout
from specs.printable import printable
from specs.syntax.overrides import set_option
from tests.helpers.paths import ROOT
from tests.helpers.shards import samples, write_tar

BAD = ["\x1b[2J", "\x1b]8;;http://x\x07", "\u202e", "\x9b31m", "\x08", "\r", "\u2028"]
NAME = "a" + "".join(BAD) + "[red]b[/red]"


def is_clean(text: str) -> bool:
    return all(char.isprintable() or char in "\n\t" for char in text)


@pytest.mark.parametrize(
    ("text", "shown"), [("a\x1b[0m\n", "a\\x1b[0m\\n"), ("\u202e", "\\u202e"), ("\u00e9\U0001f600", "\u00e9\U0001f600")]
)
def test_printable(text, shown):
    assert printable(text) == shown == printable(shown)


def test_classes_captions_and_members(cli):
    members = [(f"{NAME[:8]}{name}", content) for name, content in samples(2, category=NAME, caption=NAME)]
    write_tar(Path("s.tar"), [*members, ("0009.png", b"broken"), (f"{NAME[:6]}x.png", b"broken")])
    for command in (
        ["data", "inspect", "s.tar"],
        ["data", "inspect", "s.tar", "--json"],
        ["data", "pack", "s.tar", "out"],
    ):
        code, out, err = cli(*command)
        assert is_clean(out) and is_clean(err), command
        if code == 0 and command[-1] == "s.tar":
            assert "[red]b[/red]" in out and "\\x1b[2J" in out
        if code == 0 and command[-1] == "--json":
            assert NAME in json.loads(out)["classes"]


def test_names_and_summaries_of_entries(cli, monkeypatch):
    Path("zoo").mkdir()
    text = f"name: x\nsummary: {json.dumps(NAME)}\nresolution: 8\nstages: {{r8: {{width: 32}}}}\n"
    Path("zoo/x.yaml").write_text(text)
    monkeypatch.setenv("ZOO_PATH", "zoo")
    for command in (
        ["show", "x"],
        ["list", "x"],
        ["list", "x", "--json"],
        ["compare", "x"],
        ["expand", "x"],
        ["card", "x"],
        ["check", "x"],
    ):
        code, out, err = cli(*command)
        assert code == 0 and is_clean(out) and is_clean(err), (command, err)
        assert "[red]b[/red]" in out or command[0] in ("compare", "check", "card", "list")


@pytest.mark.parametrize("command", ["check", "show", "train", "study", "sample", "evaluate", "card", "draw", "match"])
def test_arguments(cli, command):
    more = ["flops"] if command == "match" else []
    for name in (NAME, f"./{NAME}.yaml", f"./{NAME}.safetensors"):
        code, out, err = cli(command, name, *more)
        assert code == 2 and is_clean(out) and is_clean(err)


def test_every_encoding_of_the_terminal():
    """With LC_ALL=C or a small encoding, letters become escapes, and files are UTF-8 all the same."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for encoding in ("ascii", "latin-1"):
        found = subprocess.run(
            [sys.executable, "-m", "zoo", "show", "\u4f60\u597d"],
            env={**environment, "PYTHONIOENCODING": encoding}, capture_output=True, timeout=60,
        )  # fmt: skip
        assert found.returncode == 2 and b"Traceback" not in found.stderr and b"no entry is called" in found.stderr


@pytest.mark.parametrize("command", [["check"], ["check", "--json"], ["show"], ["data", "pack", "x.csv"]])
def test_addresses_lose_their_secrets(cli, command):
    code, out, err = cli(*command, "http://me:secret@host/x?sig=secret")
    assert code == 2 and "secret" not in out + err


def test_layouts_are_shown_without_secrets():
    assert str(Layout("http://me:secret@host/s.tar?sig=secret: 1 shard")).startswith("http://host/s.tar: 1 shard;")


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("p16", "--set phases.p16.steps=N"),
        ("a b", "--set 'phases.a b.steps=N'"),
        ("a\nb", "phases > a\\nb > steps: N in the file"),
        ("v1.2", "phases > v1.2 > steps: N in the file"),
    ],
)
def test_options_for_names(name, option):
    assert set_option("phases", name, "steps") == option


def test_names_of_phases_stay_on_their_line(cli):
    phases = json.dumps({"p\nINJECT": {"train": "r8", "steps": 2, "batch": 4}})
    Path("r.yaml").write_text(f"name: r\nentry: mdm-micro\ndata: noto-emoji-64\nphases: {phases}\n")
    code, out, _ = cli("check", "r.yaml")
    assert code == 0 and out == "OK recipe r  entry mdm-micro  phases p\\nINJECT\n"


def test_names_with_line_breaks_stay_on_their_line(cli):
    members = [(f"a\nINJECT{name}", content) for name, content in samples(2, category="c\nINJECT")]
    write_tar(Path("s.tar"), [*members, ("b\nINJECT.png", b"broken")])
    Path("x.yaml").write_text('name: x\nextends: mdm-micro\nsummary: "s\\nINJECT"\n')
    for command in (
        ["data", "inspect", "s.tar"],
        ["data", "pack", "s.tar", "out", "--max-broken", "0.9"],
        ["show", "x.yaml"],
    ):
        _, out, err = cli(*command)
        assert "INJECT" in out + err
        assert not any(line.strip().startswith("INJECT") for line in (out + err).splitlines())
