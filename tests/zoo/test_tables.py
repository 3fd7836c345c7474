"""Tables fit the terminal, use its width, and never cut a number, a name or a hash."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

import zoo
from registry.costs.units import short
from specs.load import load_text
from zoo.terminal.tables import print_table

WIDTHS = (40, 80, 200)


@pytest.fixture
def at_width(cli, monkeypatch):
    def call(width: int, *arguments: object) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        code, text, error = cli(*arguments)
        assert code == 0, error
        return text.splitlines()

    return call


def numbers(row) -> list[str]:
    return [f"{row.parameters:,}", short(row.flops)]


@pytest.mark.parametrize("name", zoo.list())
def test_a_card_cuts_no_number(name):
    card = zoo.get(name).card()
    rows = [card, *card.levels, *(stage for level in card.levels for stage in level.stages)]
    for width in WIDTHS:
        output = Console(width=width, file=io.StringIO())
        output.print(card)
        lines = output.file.getvalue().splitlines()
        text = "\n".join(lines)
        assert all(number in text for row in rows for number in numbers(row))
        assert {card.hash, card.graph_hash, *(f"{row.parameters:,}" for row in rows)} <= set(text.split())
        assert "…" not in text and max(len(line.rstrip()) for line in lines) <= width


def test_show_uses_the_width_there_is(at_width):
    wide = at_width(200, "show", "mdm-s1024")
    assert any("520.04 G" in line and "1.04 T" in line for line in wide)
    assert len(wide) < len(at_width(80, "show", "mdm-s1024")) < len(at_width(40, "show", "mdm-s1024"))
    memory = next(line for line in wide if "memory" in line)
    assert "with checkpointing" in memory


def test_numbers_of_a_deep_and_large_entry_line_up(at_width, tmp_path):
    text = "name: deep\nresolution: 512\n"
    for depth, side in enumerate((512, 256, 128, 64, 32, 16, 8)):
        indent = "  " * depth
        text += f"{indent}resolution: {side}\n" if depth else ""
        text += f"{indent}stages: {{r{side}: {{width: 4096, depth: 3}}, r{side // 2}: {{width: 4096}}}}\n"
        text += f"{indent}nest:\n" if side > 8 else ""
    (tmp_path / "work" / "deep.yaml").write_text(text)
    total = f"{zoo.get(tmp_path / 'work' / 'deep.yaml').card().parameters:,}"
    assert len(total) > 13 and load_text(text).graph.labels[-1] == "r8"
    for width in WIDTHS:
        lines = at_width(width, "show", "deep.yaml")
        assert any(total in line for line in lines)
        assert max(len(line.rstrip()) for line in lines) <= width
    columns = [line.rindex("%") for line in lines if line.rstrip().endswith("%")]
    assert len(set(columns)) == 1


@pytest.mark.parametrize("width", WIDTHS)
def test_list_and_compare_cut_no_number(at_width, width):
    names = zoo.list()
    cards = {name: zoo.get(name).card() for name in names}
    for arguments in (["list"], ["compare", *names]):
        lines = at_width(width, *arguments)
        text = "\n".join(lines)
        for name, card in cards.items():
            assert all(number in text for number in (name, *numbers(card)))
    assert ("MACs" in "\n".join(at_width(width, "list"))) == (width >= 100)


def test_few_entries_stay_side_by_side_on_a_narrow_terminal():
    rows = [{"entry": name, "parameters": "1,234", "kid_efficientnet_lite0": "0.5"} for name in ("first", "second")]

    def printed(rows, width=40):
        console = Console(file=io.StringIO(), width=width)
        print_table(rows, console=console, turn=True)
        return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]

    assert printed(rows, 60)[0] == "entry parameters kid_efficientnet_lite0"
    assert printed(rows) == ["entry first second", "parameters 1,234 1,234", "kid_efficientnet_lite0 0.5 0.5"]
    assert printed([rows[0], rows[0]])[:2] == printed(rows, 30)[:2] == ["first", "parameters 1,234"]


@pytest.mark.parametrize("width", WIDTHS)
def test_other_tables_cut_no_number(at_width, width):
    assert "29,000" in "\n".join(at_width(width, "list", "recipes"))
    assert "2.5e+13" in "\n".join(at_width(width, "list", "studies"))
    assert "1,722" in "\n".join(at_width(width, "list", "data"))


# --- zoo list -------------------------------------------------------------------------------------------------------


def test_weights(cli):
    assert cli("list", "--weights", "--plain")[1].split() == [
        "flat-n64", "mdm-nano", "mdm-nano-v", "mdm-nano.glyphs", "mdm-nano.text", "unetpp-n64",
    ]  # fmt: skip
    rows = {row["name"]: row["weights"] for row in json.loads(cli("list", "mdm-*", "--json")[1])}
    assert rows["mdm-nano"] is True and rows["mdm-s64"] is False
    table = cli("list", "mdm-nano*")[1]
    assert table.splitlines()[0].split()[:6] == ["name", "pixels", "parameters", "MACs", "FLOPs", "weights"]
    assert table.count("  yes  ") == 4
    assert " 32f8/16f8/16 " in table and " 64/32/16 " in table
    assert "no entry matches 'mdm-s*', with weights" in cli("list", "mdm-s*", "--weights")[2]


@pytest.mark.parametrize(
    ("kind", "name", "facts"),
    [
        ("recipes", "nano-progressive", {"entry": "mdm-nano", "data": "noto-emoji-64", "steps": 2200}),
        ("studies", "n32", {"data": "noto-emoji-64", "training_flops": 2.5e13}),
        ("data", "noto-emoji-64", {"classes": 10, "samples": {"train": 1722, "val": 189}, "licence": "Apache-2.0"}),
    ],
)
def test_other_lists(cli, kind, name, facts):
    assert name in cli("list", kind)[1]
    assert name in cli("list", kind, "--plain")[1].split()
    row = next(row for row in json.loads(cli("list", kind, "--json")[1]) if row["name"] == name)
    assert row["name"] == name and facts.items() <= row.items() and row["summary"]
    assert json.loads(cli("list", kind, f"{name[:3]}*", "--json")[1])
    code, out, error = cli("list", kind, "zzz*")
    assert (code, out) == (2, "") and f"'zoo list {kind}' shows all" in error
    assert "--depth is for entries" in cli("list", kind, "--depth", 2)[2]


def test_a_broken_recipe_does_not_hide_the_others(cli, monkeypatch, tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "bad.yaml").write_text("name: bad\nentry: nosuch\n")
    monkeypatch.setenv("ZOO_PATH", str(tmp_path))
    text = cli("list", "recipes")[1]
    assert "'zoo check bad' says why" in text and "nano-progressive" in text


# --- JSON -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["show", "mdm-nano"], ["compare", "mdm-nano", "mdm-micro"], ["check", "mdm-nano", "n32"], ["schema"]],
    ids=" ".join,
)
def test_stdout_is_json_and_nothing_else(cli, monkeypatch, tmp_path, arguments):
    (tmp_path / "mdm-nano.yaml").write_text("name: mdm-nano\nextends: mdm-micro\n")
    monkeypatch.setenv("ZOO_PATH", str(tmp_path))
    code, text, _ = cli(*arguments, *(["--json"] if arguments != ["schema"] else []))
    assert code == 0 and json.loads(text)


def test_compare_as_json(cli):
    found = json.loads(cli("compare", "mdm-nano", "mdm-micro", "--json")[1])
    assert set(found) == {"conditions", "metrics", "entries", "notes"}
    first = found["entries"][0]
    assert (first["name"], first["parameters"]) == ("mdm-nano", 1_483_017) and first["choices"]["levels"] == "3"


# --- ZOO_PATH -------------------------------------------------------------------------------------------------------

MINE = "name: mdm-micro\nsummary: Mine.\nextends: mdm-nano\n"
NOTE = "note: 'mdm-micro' is {}; it shadows the one in the package (ZOO_PATH)\n"


@pytest.mark.parametrize(
    "arguments",
    [
        "show mdm-micro",
        "check mdm-micro",
        "card mdm-micro",
        "expand mdm-micro",
        "compare mdm-micro",
        "list mdm-micro",
        "list mdm-micro --json",
        "sample mdm-micro",
        "train mdm-micro --data nosuch",
        "check outer.yaml",
    ],
)
def test_shadows_are_used_and_noted_by_every_command(cli, monkeypatch, tmp_path, arguments):
    path = tmp_path / "mdm-micro.yaml"
    path.write_text(MINE)
    (tmp_path / "work" / "outer.yaml").write_text("name: outer\nextends: mdm-micro\n")
    monkeypatch.setenv("ZOO_PATH", f"{tmp_path}:{tmp_path}::")
    code, out, error = cli(*arguments.split())
    assert error.count(NOTE.format(path)) == 1, error
    assert code == (2 if arguments.split()[0] in ("sample", "evaluate", "train") else 0)
    if arguments.startswith(("show", "list")):
        assert "Mine." in out


def test_list_marks_shadows_and_names_missing_folders(cli, monkeypatch, tmp_path):
    (tmp_path / "mdm-micro.yaml").write_text(MINE)
    (tmp_path / "mine.yaml").write_text("name: mine\nextends: mdm-nano\n")
    monkeypatch.setenv("ZOO_PATH", f":{tmp_path}:/nowhere:")
    code, out, error = cli("list", "m*-m*")
    assert code == 0 and "ZOO_PATH, shadows" in out and "note: ZOO_PATH: /nowhere is not a folder" in error
    rows = {row["name"]: row for row in json.loads(cli("list", "m*", "--json")[1])}
    assert rows["mdm-micro"]["shadows"] and rows["mine"]["source"].endswith("mine.yaml")
    assert not rows["mine"]["shadows"] and rows["mdm-nano"]["source"] is None


def test_a_recipe_that_shadows_is_noted(cli, monkeypatch, tmp_path):
    path = tmp_path / "recipes" / "micro-test.yaml"
    path.parent.mkdir()
    path.write_text("name: micro-test\nextends: nano-progressive\n")
    monkeypatch.setenv("ZOO_PATH", str(tmp_path))
    code, out, error = cli("check", "micro-test")
    assert code == 0 and "entry mdm-nano" in out and f"note: 'micro-test' is {path}" in error


def test_links_in_a_circle_are_no_entries(cli, monkeypatch, tmp_path):
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    monkeypatch.setenv("ZOO_PATH", str(tmp_path))
    code, out, _ = cli("list", "--plain")
    assert code == 0 and "mdm-nano" in out.split()
    for words in (["check", "loop"], ["check", tmp_path / "loop.yaml"], ["show", tmp_path / "loop.yaml"]):
        code, _, error = cli(*words)
        assert code == 2 and "Traceback" not in error and error.count("\n") <= 2


@pytest.mark.parametrize("width", WIDTHS)
def test_list_names_what_cannot_be_read_at_every_width(cli, monkeypatch, tmp_path, width):
    for number in range(5):
        (tmp_path / f"a-bad-entry-with-a-long-name-{number}.yaml").write_text("stages: 1\n")
    monkeypatch.setenv("ZOO_PATH", str(tmp_path))
    monkeypatch.setenv("COLUMNS", str(width))
    code, _, error = cli("list")
    assert code == 0 and "a-bad-entry-with-a-long-name-2 and 2 more cannot be read" in error
    assert "'zoo check a-bad-entry-with-a-long-name-0' says why" in error


def test_list_entries_is_list(cli):
    assert cli("list", "entries", "mdm-n*") == cli("list", "mdm-n*")
    assert cli("list", "entries", "--plain") == cli("list", "--plain")


def test_a_number_of_blocks_stays_with_their_name(at_width):
    lines = [line.replace("│", " ").strip() for line in at_width(80, "show", "mdm-s1024")]
    assert any(line.endswith("512: 5 resnet,") or "512: 5 resnet,  " in line for line in lines)
    assert "5 attention" in lines and "26 attention" in lines


def test_a_cell_stays_on_one_line():
    output = Console(width=80, file=io.StringIO())
    print_table([{"name": "a", "summary": "one\ntwo"}], console=output, text="summary")
    assert "one two" in output.file.getvalue()
