"""Help pages, the version, and completion in the shell."""

from __future__ import annotations

import pytest
from typer.main import get_command

import zoo
from zoo.commands.app import app

GROUPS = {
    "Author:": ("list", "show", "check", "expand", "draw", "schema", "match"),
    "Train and sample:": ("plan", "train", "average", "sample", "demo", "data"),
    "Measure and compare:": ("evaluate", "results", "compare", "study", "track", "dashboard"),
    "Publish:": ("card", "convert"),
}


def pages(group=None, prefix=()):
    group = group or get_command(app)
    yield prefix
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from pages(command, (*prefix, name))
        else:
            yield (*prefix, name)


WIDTHS = [(words, 80) for words in pages()] + [(("sample",), 40), ((), 40), (("sample",), 200), ((), 200)]


@pytest.mark.parametrize(
    ("words", "width"), WIDTHS, ids=lambda each: " ".join(each) if isinstance(each, tuple) else each
)
def test_help_is_plain_and_fits_the_terminal(cli, monkeypatch, words, width):
    monkeypatch.setenv("COLUMNS", str(width))
    code, text, error = cli(*words, "--help")
    assert (code, error) == (0, "")
    assert " ".join(text.split()).startswith(f"Usage: {' '.join(('zoo', *words))} [OPTIONS]")
    assert not any(part in text for part in ("<bool>", "<str>", "<int>", "│", "╭", "…", "Default: None"))
    limit = {40: 60, 80: 79, 200: 100}[width]
    assert all(len(line) <= limit for line in text.splitlines()), [line for line in text.splitlines() if len(line) > 79]


def test_help_groups_the_commands(cli):
    text = cli("--help")[1]
    for heading, names in GROUPS.items():
        block = text.split(f"\n{heading}\n")[1].split("\n\n")[0]
        listed = [line.split()[0] for line in block.splitlines() if line.startswith("  ") and line[2] != " "]
        assert sorted(listed) == sorted(names), heading


def test_help_shows_values_defaults_and_what_is_needed(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = cli("sample", "--help")[1]
    assert "  -n, --count COUNT  " in text and "Default: 2." in text
    assert "  --nearest / --no-nearest  " in text and "\nSampling:\n" in text
    assert "Default: 0.0 1.0." in " ".join(text.split())
    assert "Required." in cli("draw", "--help")[1]
    assert cli("check", "--help")[1].splitlines()[0].endswith("...")


def test_version(cli):
    code, text, error = cli("--version")
    assert (code, text, error) == (0, f"matryoshka-zoo {zoo.__version__}\n", "")


@pytest.mark.parametrize("words", [(), ("data",)], ids=["zoo", "zoo data"])
def test_without_a_command_the_help_is_shown(cli, words):
    code, text, error = cli(*words)
    assert code == 2 and (text + error).startswith("Usage: zoo") and "(see zoo" not in text + error


def test_a_near_command_is_suggested(cli):
    assert "Did you mean 'show'?" in cli("shwo")[2]


# --- completion -----------------------------------------------------------------------------------------------------


@pytest.fixture
def complete(cli, monkeypatch):
    def call(line: str) -> list[str]:
        monkeypatch.setenv("_ZOO_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        code, text, error = cli()
        assert (code, error) == (0, "")
        return text.split()

    return call


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("zoo sa", ["sample"]),
        ("zoo show mdm-n", ["mdm-nano", "mdm-nano-v", "mdm-nano.glyphs", "mdm-nano.text"]),
        ("zoo check nano-p", ["nano-progressive"]),
        ("zoo train nano-p", ["nano-progressive"]),
        ("zoo train mdm-mi", ["mdm-micro"]),
        ("zoo study n", ["n32"]),
        ("zoo sample mdm-", ["mdm-nano", "mdm-nano-v", "mdm-nano.glyphs", "mdm-nano.text"]),
        ("zoo data inspect noto", ["noto-emoji-64"]),
        ("zoo sample mdm-nano --samp", ["--sampler"]),
        ("zoo compare mdm-nano mdm-s1", ["mdm-s1024", "mdm-s1024.in1k"]),
        ("zoo match flat-n32 --like doll-n32-d", ["doll-n32-deep"]),
        ("zoo show qqq", []),
    ],
)
def test_completion(complete, line, expected):
    assert complete(line) == expected


def test_paths_are_completed(complete, tmp_path):
    work = tmp_path / "work"
    for name in ("mine.yaml", "mine.txt", "folder/deep.yaml", ".hidden.yaml", "w.safetensors"):
        (work / name).parent.mkdir(exist_ok=True)
        (work / name).write_text("")
    assert complete("zoo show mi") == ["mine.yaml"]
    assert complete("zoo show folder/") == ["folder/deep.yaml"]
    assert complete("zoo show fol") == ["folder/"]
    assert complete("zoo show ./.h") == ["./.hidden.yaml"]
    assert complete("zoo sample w") == ["w.safetensors"]
    assert complete("zoo show /nowhere/") == []


def test_completion_never_prints_an_error(complete, monkeypatch, tmp_path):
    (tmp_path / "broken.yaml").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("ZOO_PATH", f"{tmp_path}:/nowhere:~nosuchuser::")
    assert "mdm-nano" in complete("zoo show mdm-n")


def test_scripts_of_the_shells(cli, monkeypatch):
    monkeypatch.setenv("_ZOO_COMPLETE", "source_bash")
    code, text, _ = cli()
    assert code == 0 and "complete_bash" in text
