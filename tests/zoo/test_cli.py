"""The command line: what each command prints, and three ways of getting it wrong, each one message and exit code 2."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.main import get_command

import zoo
from specs.blocks import Costs
from tests.helpers.entries import entries
from zoo.cli import run
from zoo.commands.app import app

GOOD = """\
name: small
summary: For tests.
resolution: 16
inputs: {classes: 10}
stages:
  r16: {width: 32}
  r8: {width: 32, attention: 1}
"""


class Result:
    """Exit code and output of a command."""

    def __init__(self, code: int, captured) -> None:
        self.code, self.out, self.err = code, captured.out, captured.err


@pytest.fixture
def zoo_command(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZOO_PATH", raising=False)
    (tmp_path / "small.yaml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "typo.yaml").write_text(GOOD.replace("width: 32}", "wdth: 32}"), encoding="utf-8")
    (tmp_path / "junk.yaml").write_bytes(bytes(range(128, 256)))

    def call(*arguments: str, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        return Result(run(arguments), capsys.readouterr())

    return call


def mistake(result: Result, *words: str) -> None:
    assert result.code == 2, result.out + result.err
    assert result.out == ""
    assert result.err.strip() and "Traceback" not in result.err
    for word in words:
        assert word in result.err


# --- what commands print --------------------------------------------------------------------------------------------


def test_list(zoo_command):
    assert zoo_command("list", "--plain").out.split() == zoo.list()
    table = zoo_command("list", "mdm-s*").out
    assert "480,970,057" in table and "mdm-nano" not in table
    rows = json.loads(zoo_command("list", "mdm-s64", "--json").out)
    assert rows[0]["parameters"] == 461_359_107 and rows[0]["levels"][0]["label"] == "r64"


def test_a_broken_entry_does_not_hide_the_others(zoo_command, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_PATH", str(tmp_path))
    result = zoo_command("list")
    assert result.code == 0
    assert "mdm-s64" in result.out and "'zoo check typo' says why" in result.out
    assert "error[" in zoo_command("list", "typo", "--json").out


def test_show(zoo_command):
    result = zoo_command("show", "mdm-s1024")
    assert result.code == 0
    for word in ("r1024", "r256", "r64", "480,970,057", "1.04 T", "461,359,107", "37.1 %"):
        assert word in result.out
    assert "r16" in zoo_command("show", "-", stdin=GOOD.encode()).out
    card = json.loads(zoo_command("show", "small.yaml", "--set", "stages.r16.width=64", "--json").out)
    assert card["parameters"] > json.loads(zoo_command("show", "small.yaml", "--json").out)["parameters"]


def test_show_verify(zoo_command, monkeypatch):
    result = zoo_command("show", "mdm-micro", "--verify")
    card = zoo.get("mdm-micro").card()
    counts = [line.split() for line in result.out.splitlines() if line.startswith(("rules", "fvcore", "torch"))]
    assert result.code == 0
    assert counts == [[source, f"{card.parameters:,}", f"{card.macs:,}"] for source in ("rules", "fvcore", "torch")]
    found = json.loads(zoo_command("show", "mdm-micro", "--verify", "--json").out)["verified"]
    assert found[1] == {"source": "fvcore", "parameters": card.parameters, "macs": card.macs}
    monkeypatch.setattr("registry.costs.totals.norm", lambda channels: Costs(parameters=channels))
    result = zoo_command("show", "mdm-micro", "--verify")
    assert result.code == 2 and "the cost rule of a block does not match its module" in result.err


@pytest.mark.parametrize("width", [80, 100, 120])
def test_numbers_are_whole_at_any_width(zoo_command, monkeypatch, width):
    monkeypatch.setattr("zoo.terminal.console.WIDTH", width)
    listed, shown = zoo_command("list", "mdm-s1024").out, zoo_command("show", "mdm-s1024").out
    assert "480,970,057" in listed and "1.04 T" in listed
    assert ("MACs" in listed) == ("520.04 G" in listed) == (width >= 100)
    for text in ("480,970,057", "1.04 T", "100.0 %", "370,079,232", "170.55 G", "16.4 %"):
        assert text in shown
    assert "…" not in shown and ("520.04 G" in shown) == (width >= 98)
    assert all(len(line.rstrip()) <= width for line in (listed + shown).splitlines())


def test_check(zoo_command):
    result = zoo_command("check", "small.yaml", "mdm-s64")
    assert result.code == 0
    first, second = result.out.splitlines()
    assert first.startswith("OK entry small ") and zoo.get("small.yaml").hash in first
    assert second.startswith("OK entry mdm-s64 ")


def test_check_recipes(zoo_command, tmp_path):
    result = zoo_command("check", "nano-progressive")
    assert (result.code, result.out.split()[:3]) == (0, ["OK", "recipe", "nano-progressive"])
    text = "name: mine\nextends: nano-progressive\nphases: {p16: {train: r16, stps: 3}}\n"
    (tmp_path / "mine.yaml").write_text(text)
    mistake(zoo_command("check", "mine.yaml"), "mine.yaml:3:", "did you mean 'steps'")


def test_check_goes_on_after_a_mistake(zoo_command):
    result = zoo_command("check", "typo.yaml", "small.yaml", "absent.yaml")
    assert result.code == 2
    assert result.out.startswith("OK entry small")
    assert "typo.yaml:6:" in result.err and "did you mean 'width'" in result.err and "absent.yaml" in result.err


@pytest.mark.parametrize("name", entries())
def test_expand_into_check(zoo_command, name):
    expanded = zoo_command("expand", name)
    assert expanded.code == 0
    checked = zoo_command("check", "-", stdin=expanded.out.encode())
    assert checked.code == 0, checked.err
    assert zoo.get(name).hash in checked.out and zoo.get(name).graph_hash in checked.out


def test_expand_with_overrides(zoo_command):
    expanded = zoo_command("expand", "mdm-s64", "--set", "stages.r64.width=96", "-s", "stages.r32.width=128")
    changed = zoo.get("mdm-s64", ["stages.r64.width=96", "stages.r32.width=128"])
    assert changed.hash in zoo_command("check", "-", stdin=expanded.out.encode()).out


def test_schema(zoo_command):
    schema = json.loads(zoo_command("schema").out)
    assert "stages" in json.dumps(schema)


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_draw(zoo_command, suffix, tmp_path):
    assert zoo_command("draw", "small.yaml", "-o", f"a.{suffix}").code == 0
    assert zoo_command("draw", "small.yaml", "-o", f"b.{suffix}").code == 0
    data = (tmp_path / f"a.{suffix}").read_bytes()
    assert len(data) > 2000 and data == (tmp_path / f"b.{suffix}").read_bytes()


@pytest.mark.parametrize("name", entries())
def test_every_entry_can_be_drawn(zoo_command, name):
    assert zoo_command("draw", name, "-o", "entry.svg").code == 0


def test_version(zoo_command):
    assert f"matryoshka-zoo {zoo.__version__}" in zoo_command("version").out


def commands(group, prefix=()):
    """All commands of the command line, by the words that call them."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*prefix, name))
        else:
            yield (*prefix, name), command


COMMANDS = dict(commands(get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_and_option_has_help(zoo_command, words):
    result = zoo_command(*words, "--help")
    assert result.code == 0 and "Usage" in result.out
    for parameter in COMMANDS[words].params:
        assert re.match(r"[A-Z-].*[.]$", parameter.help or ""), f"{' '.join(words)} {parameter.name}: {parameter.help}"


# --- mistakes -------------------------------------------------------------------------------------------------------

MISTAKES = [
    (["list", "xyz-*"], "no entry matches 'xyz-*'; 'zoo list' shows all"),
    (["list", "mdm"], "no entry matches 'mdm'; did you mean 'mdm*'?"),
    (["list", "nano", "--depth", "3"], "no entry matches 'nano', depth 3; did you mean '*nano*'?"),
    (["list", "--plane"], "--plane"),
    (["list", "a", "b"], "zoo list"),
    (["show", "mdm-s65"], "did you mean 'mdm-s64'"),
    (["show", "typo.yaml"], "typo.yaml:6:"),
    (["show", "small.yaml", "--set", "stages.r17.width=64"], "r17"),
    (["check", "junk.yaml"], "junk.yaml"),
    (["check", "nowhere/"], "nowhere"),
    (["check"], "zoo check"),
    (["check", "-"], "<stdin>"),
    (["expand", "absent.yaml"], "absent.yaml"),
    (["expand", "mdm-s64", "--set", "width"], "width"),
    (["expand"], "zoo expand"),
    (["schema", "extra"], "zoo schema"),
    (["draw", "small.yaml", "-o", "picture.doc"], ".svg, .png or .pdf"),
    (["draw", "small.yaml", "-o", "junk.yaml/picture.svg"], "junk.yaml"),
    (["draw", "small.yaml"], "output"),
    (["convert", "absent.json", "x.pth", "-o", "out"], "absent.json"),
    (["convert", "small.yaml", "absent.pth", "-o", "out"], "absent.pth"),
    (["convert", "junk.yaml", "junk.yaml", "-o", "out"], "not UTF-8"),
    (["convert", "small.yaml", "small.yaml", "-o", "out"], "not a checkpoint"),
    (["train", "nano-progresive"], "did you mean 'nano-progressive'"),
    (["train", "absent.yaml"], "absent.yaml"),
    (["train", "nano-progressive", "--set", "phases.p16.stps=3"], "did you mean 'steps'"),
    (["train", "nano-progressive", "--device", "teapot"], "--device teapot"),
    (["train", "nano-progressive", "--no-track", "--set", "phases.p16.train=r128"], "no level 'r128'"),
    (["train"], "zoo train"),
    (["sample", "mdm-nanu"], "did you mean 'mdm-nano'"),
    (["sample", "mdm-s64"], "mdm-s64 has no pretrained weights"),
    (["sample", "absent.safetensors"], "absent.safetensors"),
    (["sample", "mdm-nano", "--count", "none"], "--count"),
    (["demo", "--fast"], "--fast"),
    (["version", "--all"], "--all"),
    (["shwo", "mdm-s64"], "shwo"),
    (["--nonsense"], "--nonsense"),
]


@pytest.mark.parametrize(("arguments", "word"), MISTAKES, ids=[" ".join(arguments) for arguments, _ in MISTAKES])
def test_mistakes(zoo_command, arguments, word):
    mistake(zoo_command(*arguments), word)


def test_junk_on_stdin(zoo_command):
    mistake(zoo_command("check", "-", stdin=bytes(range(128, 256))), "<stdin>", "not UTF-8")
    mistake(zoo_command("check", "-", stdin=b"a" * 1_100_000), "<stdin>", "too-large")
    mistake(zoo_command("expand", "-", stdin=b"- 1\n- 2\n"), "<stdin>:1:1")


# --- the process ----------------------------------------------------------------------------------------------------


def process(*arguments: str, cwd: Path, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "zoo", *arguments]
    return subprocess.run(command, capture_output=True, cwd=cwd, timeout=60, **options)


def test_exit_code_of_the_process(tmp_path):
    result = process("show", "mdm-s65", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.decode().count("\n") == 1
    assert process(cwd=tmp_path).returncode == 2


def test_interruption(zoo_command, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("registry.catalogue.get", interrupted)
    result = zoo_command("show", "mdm-s64")
    assert result.code == 130 and result.err.strip() == "interrupted"


def test_a_reader_that_goes_away(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "zoo", "list", "--plain"]
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=60)
    os.close(writer)
    assert result.stderr == b"" and result.returncode == 141


def test_bugs_keep_their_traceback(zoo_command, monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("a bug")

    monkeypatch.setattr("registry.catalogue.get", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        zoo_command("show", "mdm-s64")


def test_exceptions_of_the_zoo_are_messages(zoo_command, monkeypatch):
    from builders.training.start import TrainingError

    def broken(*arguments, **options):
        raise TrainingError("the folder holds another run")

    monkeypatch.setattr("specs.recipe.load_recipe_and_graph", broken)
    mistake(zoo_command("train", "nano-progressive"), "error: the folder holds another run")


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--output", "-o", "--out", "--out=", "--output="])
def test_every_output_has_one_name_and_the_old_one_works(zoo_command, option, tmp_path):
    words = [f"{option}card.md"] if option.endswith("=") else [option, "card.md"]
    assert zoo_command("card", "small.yaml", *words).code == 0
    assert (tmp_path / "card.md").is_file()


def test_help_shows_output_and_hides_its_old_name(zoo_command):
    writing = [words for words, command in COMMANDS.items() if any(each.name == "output" for each in command.params)]
    assert len(writing) == 12
    for words in writing:
        text = zoo_command(*words, "--help").out
        assert "-o, --output" in text and "--out " not in text, words


@pytest.mark.parametrize("option", ["--no-val", "--no-held-out"])
def test_the_old_name_of_the_validation_split_works(zoo_command, option, tmp_path):
    (tmp_path / "images").mkdir()
    for index in range(20):
        Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / "images" / f"{index}.png")
    words = ("data", "pack", "images", "shards", "--licence", "CC0", "-q")
    assert "20 train; 0 classes" in zoo_command(*words, option).out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("sample mdm-nano -n x", "Invalid value for '--count' / '-n': must be a whole number (see zoo sample --help)"),
        ("sample mdm-nano -n 1.5", "must be a whole number (see"),
        (f"sample mdm-nano --seed {'9' * 5000}", "must be a whole number (see"),
        ("sample mdm-nano --seed -1", "Invalid value for '--seed': must be at least 0 (see"),
        (f"sample mdm-nano --seed {2**62 + 1}", f"must be at most {2**62} (see"),
        ("show mdm-nano --guidance much", "must be a number (see"),
        ("show mdm-nano --guidance nan", "--guidance nan: must be a finite number"),
    ],
)
def test_values_of_options_are_checked_in_plain_words(cli, arguments, message):
    code, _, error = cli(*arguments.split())
    assert code == 2 and message in error and error.count("\n") == 1
