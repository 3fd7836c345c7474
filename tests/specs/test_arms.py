"""Studies of arms: changes of one recipe and entry, checked as recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from specs.arms import load_arm_study
from specs.errors import SpecError
from specs.study import load_study

STUDY = """\
name: mini
data: noto-emoji-64
base:
  entry: mdm-micro
  optimizer: {learning_rate: 1e-3}
  loss: {space: v}
  phases:
    p8: {train: r8, share: 0.4, batch: 8}
    p16: {train: r16, share: 0.6, batch: {r16: 4, r8: 8}}
arms:
  plain: {}
  shifted: {entry: {process: {shift: 2}}}
  once: {recipe: {phases: {p8: null, p16: {steps: 12}}, optimizer: {learning_rate: 2e-3}}}
seeds: 3
budget: {training_flops: 1e9}
evaluation: {samples: 100, num_inference_steps: 5}
measures: {p1: {draws: 2}, p2: }
contrasts:
  shift: {arms: [shifted, plain], measure: p1, primary: true}
"""


@pytest.fixture
def study(tmp_path):
    """Load the study with some text replaced."""

    def load(*changes: tuple[str, str], overrides=()):
        text = STUDY
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "mini.yaml"
        path.write_text(text, encoding="utf-8")
        return load_arm_study(path, overrides)

    return load


def test_arms_are_changes_of_the_base(study):
    loaded = study()
    plain, shifted, once = loaded.arms
    assert loaded.study.seeds == (0, 1, 2) and loaded.study.measures == {"p1": {"draws": 2}, "p2": {}}
    assert plain.shares == {"p8": 0.4, "p16": 0.6} and once.shares == {}
    assert [phase.steps for phase in plain.recipe.phases.values()] == [1, 1]
    assert list(once.recipe.phases) == ["p16"] and once.recipe.phases["p16"].steps == 12
    assert (plain.recipe.optimizer.learning_rate, once.recipe.optimizer.learning_rate) == (1e-3, 2e-3)
    assert shifted.recipe.entry_overrides == ("process.shift=2",) and shifted.graph.process.shift == 2
    assert plain.graph.hash == once.graph.hash != shifted.graph.hash
    assert {arm.recipe.name for arm in loaded.arms} == {"mini-plain", "mini-shifted", "mini-once"}
    assert plain.recipe.data == "noto-emoji-64" and plain.recipe.evaluation.samples == 100
    assert loaded.arm("once") is once
    with pytest.raises(LookupError, match="no arm 'oncee'; did you mean 'once'"):
        loaded.arm("oncee")


def test_the_base_may_extend_a_recipe(study, tmp_path):
    phases = "phases: {p8: {train: r8, steps: 5, batch: 4}}\n"
    (tmp_path / "r.yaml").write_text(f"name: r\nentry: mdm-micro\ndata: other\nema: 0.5\nloss: {{space: v}}\n{phases}")
    loaded = study(("  entry: mdm-micro\n", "  extends: ./r.yaml\n"))
    assert loaded.arms[0].recipe.ema == 0.5 and loaded.arms[0].shares == {"p8": 0.4, "p16": 0.6}
    assert loaded.arms[0].recipe.data == "noto-emoji-64"


def test_an_entry_by_path_is_beside_the_study(study, tmp_path):
    (tmp_path / "own.yaml").write_text("name: own\nextends: mdm-micro\n")
    loaded = study(("entry: mdm-micro", "entry: ./own.yaml"))
    assert loaded.arms[0].graph.name == "own" and loaded.arms[0].recipe.entry == str(tmp_path / "own.yaml")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("[shifted, plain]", "[shiftd, plain]"), ["mini.yaml:19:18: error[bad-value]", "did you mean 'shifted'"]),
        (("[shifted, plain]", "[plain, plain]"), ["between two arms, not 'plain' and itself"]),
        (("seeds: 3", "seeds: [1, 1]"), ["one is there twice"]),
        (("seeds: 3", "seeds: 0"), ["from 1 to 1000"]),
        (("share: 0.4", "share: 0.5"), ["share 1.1 of the budget"]),
        (("share: 0.4", "share: 0.4, steps: 3"), ["takes one of 'share' and 'steps'"]),
        (("share: 0.4", "share: -1"), ["must be from 0 to 1"]),
        (("  loss: {space: v}", "  seed: 3"), ["the base of a study has no 'seed': set 'seeds' of the study"]),
        (("plain: {}", "plain: {recipe: {data: x}}"), ["set 'data' of the study"]),
        (("shift: 2", "shfit: 2"), ["shfit"]),
        (("train: r8", "train: r9"), ["has no level 'r9'"]),
        (("entry: mdm-micro", "entry: mdm-mikro"), ["did you mean 'mdm-micro'"]),
        (("plain: {}", "plain: {recip: {}}"), ["did you mean 'recipe'"]),
        (("measures: {p1: {draws: 2}, p2: }", "measures: 3"), ["'measures' is a list of names"]),
        (("seeds: 3", "seeds: 3\nsearch: {set: ema, values: [0.9], seeds: [2], by: p1}"), ["would be used twice"]),
        (("seeds: 3", "seeds: 3\nreuse: [a-glyphs]"), [":9: error[bad-value]", "did you mean 'A-glyphs'"]),
        (("seeds: 3", "seeds: 3\nreuse: [A, ./mini.yaml]"), ["reuses results of other studies, not its own"]),
        (("seeds: 3", "seeds: 3\nreuse: [n32]"), ["'n32' compares entries"]),
        (("seeds: 3", "seeds: 3\nreuse: [./lost.yaml]"), ["error[missing-file]: no such file: ./lost.yaml"]),
    ],
)
def test_errors_have_a_place(study, change, words):
    with pytest.raises(SpecError) as error:
        study(change)
    for word in words:
        assert word in str(error.value)


def test_studies_that_are_reused_are_names_or_files_beside_it(study, tmp_path):
    study()
    (tmp_path / "mini.yaml").rename(tmp_path / "older.yaml")
    assert study(("seeds: 3", "seeds: 3\nreuse: [A, ./older.yaml]")).study.reuse == ("A", str(tmp_path / "older.yaml"))


def test_overrides_change_the_study(study):
    assert study(overrides=["seeds=[4]", "base.ema=0.3"]).arms[0].recipe.ema == 0.3
    assert study(overrides=["seeds=[4]"]).study.seeds == (4,)


def test_a_study_of_entries_is_another_form(study, tmp_path):
    study()
    with pytest.raises(SpecError, match="this study has arms"):
        load_study(Path(tmp_path / "mini.yaml"))
    with pytest.raises(SpecError):
        load_arm_study("n32")


def test_it_is_checked_listed_and_in_the_schema(study, tmp_path, cli, monkeypatch):
    from jsonschema import Draft202012Validator

    from specs.schemas.json_schema import json_schema
    from specs.syntax.yaml_tree import parse, plain

    study()
    code, out, _ = cli("check", tmp_path / "mini.yaml")
    assert code == 0 and "mini" in out
    folder = tmp_path / "studies"
    folder.mkdir()
    (folder / "mini.yaml").write_text(STUDY, encoding="utf-8")
    monkeypatch.setenv("ZOO_PATH", str(tmp_path))
    code, out, _ = cli("list", "studies", "--json")
    assert code == 0 and '"arms": [' in out
    validator = Draft202012Validator(json_schema("study"))
    found = plain(parse(tmp_path / "mini.yaml"))
    validator.validate(found)
    assert not validator.is_valid(found | {"arms": {}}) and not validator.is_valid(found | {"seedz": 3})
    for arm in ({"recipe": {"emma": 1}}, {"recipe": {"data": "x"}}, {"entry": {"proces": {}}}, {"entry": 3}):
        assert not validator.is_valid(found | {"arms": {"plain": arm}}), arm
    for arm in ({"recipe": {"ema": None}}, {"recipe": {"phases": {"p8": None}}}, {"entry": {"process": None}}):
        validator.validate(found | {"arms": {"plain": arm}})
