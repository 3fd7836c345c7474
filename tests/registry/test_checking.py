"""``zoo check``: entries with their variants, recipes, studies, files and folders, and errors across passes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

BASE = """\
name: small
resolution: 16
inputs: {classes: 10}
stages:
  r16: {width: 32}
  r8: {width: 32, attention: 1}
"""


@pytest.fixture
def check(cli):
    """Check a text in ``small.yaml``."""

    def call(text: str, *options: str, name: str = "small.yaml"):
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return cli("check", name, *options)

    return call


@pytest.mark.parametrize(
    ("what", "start"),
    [
        ("mdm-nano", "OK entry mdm-nano  hash "),
        ("doll-s256", "OK entry doll-s256  hash "),
        ("mdm-s64.in1k", "OK entry mdm-s64.in1k  hash "),
        ("nano-progressive", "OK recipe nano-progressive  entry mdm-nano  phases p16, p32, p64"),
        ("n32", "OK study n32  entries flat-n32, "),
    ],
)
def test_names_of_every_kind(cli, what, start):
    code, out, errors = cli("check", what)
    assert (code, errors) == (0, "") and out.startswith(start) and out.count("\n") == 1


def test_an_unknown_name(cli):
    code, out, errors = cli("check", "mdm-nan", "mdm-nano")
    assert code == 2 and "did you mean 'mdm-nano'" in errors and out.startswith("OK entry mdm-nano")


VARIANTS = {
    "{multiply: {width: 3000}}": ("8:27: error[out-of-range]", "at most 64"),
    "{multiply: {widht: 2}}": ("8:20: error[unknown-key]", "did you mean 'width'"),
    "{stages: {r16: {width: 33}}}": ("8:31: error[bad-width]", "33 is not divisible by 32 groups"),
    "{stages: {r16: {wdth: 64}}}": ("8:24: error[unknown-key]", "did you mean 'width'"),
    "{resolution: 24}": ("8:3: error[bad-resolution]", "variant 'big': stage 'r16' has 24 pixels"),
    "{resolution: null}": ("8:8: error[missing-key]", "'resolution'"),
    "{head: {groups: 48}}": ("8:", "48 groups"),
    "{nest: nosuch}": ("8:15: error[unknown-entry]", "no entry is called 'nosuch'"),
    "{nest: mdm-nano}": ("8:", "variant 'big'"),
    "{inputs: {classes: 0}}": ("8:27: error[out-of-range]", "at least 1"),
    "5": ("8:8: error[wrong-type]", "mapping of changes"),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_broken_variant_is_reported_at_its_line(check, variant):
    place, words = VARIANTS[variant]
    code, out, errors = check(f"{BASE}variants:\n  big: {variant}\n  wide: {{multiply: {{width: 2}}}}\n")
    assert code == 2 and f"small.yaml:{place}" in errors and words in errors
    assert "OK variant big" not in out and "wide" not in errors
    places = [line.split(": error")[0] for line in errors.splitlines() if ": error[" in line]
    assert all(place.startswith("small.yaml:8:") for place in places)


def test_good_variants_are_named_with_their_notes(check):
    code, out, errors = check(f"{BASE}variants:\n  a: {{multiply: {{width: 1.4}}}}\n  b: {{summary: Same.}}\n")
    assert code == 0
    assert [line.split()[1:3] for line in out.splitlines()] == [["entry", "small"], ["variant", "a"], ["variant", "b"]]
    assert "note: a: width of r16 rounded from 44.8 to 32" in errors


def test_an_error_that_variants_inherit_is_reported_once(check):
    code, _, errors = check(
        BASE.replace("width: 32}", "width: 33}") + "variants:\n  a: {summary: A.}\n  b: {head: {}}\n"
    )
    assert code == 2 and errors.count("33 is not divisible") == 1 and "variant" not in errors


def test_variants_on_stdin(cli, monkeypatch):
    import io
    import sys

    text = f"{BASE}variants:\n  big: {{stages: {{r16: {{width: 33}}}}}}\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    code, out, errors = cli("check", "-")
    assert code == 2 and out.startswith("OK entry small") and "<stdin>:8:31: error[bad-width]" in errors


@pytest.mark.parametrize("what", ["", "~nosuchuser", "~nosuchuser/x.yaml", "x" * 300, "a\nb"])
def test_odd_names(cli, what):
    code, out, errors = cli("check", what)
    assert (code, out) == (2, "") and "Traceback" not in errors and errors.count("\n") <= 2


def test_files_in_a_circle(cli):
    for name, base in (("a", "b"), ("b", "a"), ("c", "c")):
        Path(f"{name}.yaml").write_text(f"name: {name}\nextends: {base}.yaml\n")
    code, out, errors = cli("check", ".")
    assert (code, out) == (2, "") and errors.count("error[cyclic-reference]") == 3


# --- recipes and studies in files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: r\nextends: nano-progressive\n", "OK recipe r  entry mdm-nano"),
        ("name: r\nextends: nano-progressive\nseed: 3\n", "OK recipe r"),
        ("name: r\nextends: nano-progressive\nphases: {p16: {stps: 3}}\n", "did you mean 'steps'"),
        ("name: s\ndata: noto-emoji-64\nentries: [flat-n32]\nbudget: {training_flops: 1e9}\n", "OK study s"),
        (
            "name: s\ndata: noto-emoji-64\nentries: [flat-n23]\nbudget: {training_flops: 1e9}\n",
            "did you mean 'flat-n32'",
        ),
        ("name: s\ndata: noto-emoji-64\nentries: [flat-n32]\nbudgt: {training_flops: 1e9}\n", "did you mean 'budget'"),
        ("name: e\nextends: mdm-nano\n", "OK entry e"),
        ("name: t\nentries: [mdm-s64]\ninputs: {classes: 3}\n", "OK tag t"),
        ("aliases: {a: mdm-nano}\n", "OK names"),
        ("name: x\nfoo: 1\n", "error[unknown-key]"),
        ("- 1\n", "error[wrong-type]"),
        ("a: [\n", "error[syntax]"),
    ],
)
def test_files_of_every_kind(check, text, words):
    code, out, errors = check(text)
    assert words in out + errors and (code == 0) == words.startswith("OK")


def test_a_folder(cli):
    for name, text in {
        "zoo/small.yaml": BASE,
        "zoo/other.yaml": BASE,
        "zoo/recipes/mine.yaml": "name: mine\nextends: nano-progressive\n",
        "zoo/recipes/bad.yml": "name: bad\nextends: nano-progresive\n",
        "zoo/studies/st.yaml": "name: st\ndata: d\nentries: [../small.yaml]\nbudget: {training_flops: 1e9}\n",
        "zoo/data/t.yaml": "name: t\nentries: [small]\n",
        "zoo/.hidden/junk.yaml": "{",
        "zoo/notes.yaml": "some: thing\n",
        "empty/readme.txt": "",
    }.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    code, out, errors = cli("check", "zoo")
    assert code == 2
    assert [line.split()[1:3] for line in out.splitlines()] == [
        ["entry", "small"],
        ["tag", "t"],
        ["recipe", "mine"],
        ["study", "st"],
    ]
    assert "zoo/other.yaml:1:7: error[name-mismatch]" in errors
    assert "zoo/recipes/bad.yml:2:10" in errors and "did you mean 'nano-progressive'" in errors
    assert "note: zoo/notes.yaml: skipped" in errors and "hidden" not in errors
    assert "no YAML files in this folder" in cli("check", "empty")[2]


def test_json(check):
    code, out, errors = check(f"{BASE}variants:\n  big: {{resolution: 24}}\n", "--json")
    entry, variant = json.loads(out)
    assert code == 2 and errors == ""
    assert (entry["kind"], entry["ok"], entry["levels"], entry["problems"]) == ("entry", True, ["r16"], [])
    assert (variant["kind"], variant["name"], variant["ok"]) == ("variant", "big", False)
    first = variant["problems"][0]
    assert (first["code"], first["file"], first["line"], first["column"]) == ("bad-resolution", "small.yaml", 8, 3)


# --- errors of several passes ---------------------------------------------------------------------------------------


def codes(errors: str) -> list[str]:
    return [line.split("error[")[1].split("]")[0] for line in errors.splitlines() if ": error[" in line]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # keys, then nodes
        (BASE.replace("summary", "") + "summry: a\nmiddle: [resent]\n", ["unknown-key", "unknown-block"]),
        (BASE.replace("width: 32}", "width: 33, dept: 2}"), ["bad-width", "bad-width", "unknown-key"]),
        # values that no node depends on, then nodes
        (BASE.replace("width: 32}", "width: 33, depth: -1}"), ["bad-width", "bad-width", "out-of-range"]),
        (BASE + "process: {steps: 0}\nmiddle: [resent]\n", ["out-of-range", "unknown-block"]),
        # conflicts of keys, then nodes
        (BASE + "time: {width: 64}\nmiddle: [resent]\n", ["unknown-block"]),
        (
            BASE.replace("attention: 1", "attention: 1, blocks: [resnet]") + "middle: [resent]\n",
            ["conflict", "unknown-block"],
        ),
        # one level, then another
        (
            "name: n\nresolution: 32\nnest: {resolution: 16, stages: {r16: {width: 32, blocks: [resent]}}}\n"
            "stages: {r32: {width: 33}, r16: {width: 32}}\n",
            ["unknown-block", "bad-width"],
        ),
        # no value, then a key
        (BASE + "summary:\nfoo: 1\n", ["null", "unknown-key"]),
        # a misspelled key that later passes need
        (BASE.replace("stages", "stges"), ["unknown-key"]),
        (BASE.replace("width: 32}", "width: wide, dept: 2}"), ["wrong-type", "unknown-key"]),
    ],
)
def test_errors_of_several_passes_are_reported_together(check, text, expected):
    found = codes(check(text)[2])
    assert sorted(set(found)) == sorted(set(expected))


def test_errors_of_a_recipe_are_reported_together(check):
    text = "name: r\nentry: mdm-nano\ndata: d\nseeed: 3\nema: 2\nphases: {p: {train: r17, steps: 3, batch: 4}}\n"
    assert codes(check(text)[2]) == ["unknown-key", "out-of-range", "bad-value"]
    text = text.replace("mdm-nano", "mdm-nan").replace("train: r17", "train: 17")
    assert codes(check(text)[2]) == ["unknown-entry", "unknown-key", "out-of-range", "wrong-type"]
