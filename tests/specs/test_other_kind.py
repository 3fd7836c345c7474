"""A recipe where an entry is needed, and so on, is one sentence rather than one error per key."""

from __future__ import annotations

from pathlib import Path

import pytest

FILES = {
    "entry": "name: entry\nextends: mdm-micro\nnest: {inputs: {classes: 3}}\n",
    "recipe": "name: recipe\nentry: mdm-micro\ndata: x\nphases: {p8: {train: r8, steps: 3, batch: 2}}\n",
    "study": "name: study\nentries: [mdm-micro]\nbudget: {training_flops: 1e9}\ndata: x\n",
}


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "show recipe.yaml",
            "this is a recipe, not an entry (its entry is mdm-micro); to train it: zoo train recipe.yaml",
        ),
        ("compare recipe.yaml", "this is a recipe, not an entry"),
        ("card study.yaml", "this is a study, not an entry; to run it: zoo study study.yaml"),
        ("train entry.yaml", "this is an entry, not a recipe; to train it: zoo train entry.yaml --data DATA"),
        ("train study.yaml", "this is a study, not a recipe; to run it: zoo study study.yaml"),
        ("study recipe.yaml", "this is a recipe, not a study; to train it: zoo train recipe.yaml"),
        ("study entry.yaml", "this is an entry, not a study"),
    ],
)
def test_a_file_of_another_kind_is_named(cli, command, message):
    for name, text in FILES.items():
        Path(f"{name}.yaml").write_text(text)
    code, _, errors = cli(*command.split())
    assert code == 2 and message in errors and errors.count("error[") == 1


@pytest.mark.parametrize("command", ["show", "track", "train", "study"])
def test_the_folder_of_a_run_is_named(cli, command):
    Path("runs/mine").mkdir(parents=True)
    assert "this is a directory; a YAML file is needed\n" in cli(command, "runs/mine")[2]
    Path("runs/mine/recipe.json").write_text("{}")
    code, _, errors = cli(command, "runs/mine")
    assert code == 2 and "this is the folder of a run; a YAML file is needed; 'zoo sample'" in errors


def test_a_misspelled_key_is_no_other_kind(cli):
    Path("mine.yaml").write_text(FILES["entry"] + "entry: mdm-micro\n")
    assert "an entry has no field 'entry'" in cli("show", "mine.yaml")[2]
