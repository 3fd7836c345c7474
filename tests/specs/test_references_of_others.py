"""Specs, recipes and studies that came from elsewhere: their references show no file that is not ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from specs.errors import SpecError
from specs.load import load_entry
from specs.recipe import load_recipe
from specs.study import load_study_and_graphs

SECRET = "hunter2"
PHASES = "phases: {p8: {train: r8, steps: 1, batch: 1}}"
FORMS = {
    "extends": "name: x\nextends: REF\n",
    "nest": "name: x\nresolution: 16\nnest: REF\nstages: {r16: {width: 16}}\n",
    "inner": "name: x\nresolution: 16\nnest: {extends: REF}\nstages: {r16: {width: 16}}\n",
    "entry": "name: x\nentry: REF\ndata: noto-emoji-64\n" + PHASES,
    "recipe": "name: x\nextends: REF\n",
    "study": "name: x\ndata: noto-emoji-64\nentries: [REF]\nbudget: {training_flops: 1}\n",
}


def load(kind: str, path: str) -> object:
    functions = {"entry": load_recipe, "recipe": load_recipe, "study": load_study_and_graphs}
    return functions.get(kind, load_entry)(Path(path))


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("passwd", f"root:{SECRET}:0:0\n"),
        ("id_rsa", f"-----BEGIN KEY-----\n{SECRET}\n"),
        ("secrets.yaml", f"password: {SECRET}\nname: db\n"),
        ("broken.yaml", f"{SECRET}: [\n"),
        ("text.yml", f"{SECRET}\n"),
        ("list.yaml", f"- {SECRET}\n"),
        ("twice.yaml", f"{SECRET}: 1\n{SECRET}: 2\n"),
        ("tagged.yaml", f"!{SECRET} x\n"),
    ],
)
def test_files_that_are_not_ours_are_not_quoted(tmp_path, monkeypatch, kind, name, content):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / name).write_text(content)
    for reference in (f"../{name}", str(tmp_path / name)):
        Path("x.yaml").write_text(FORMS[kind].replace("REF", reference))
        with pytest.raises(SpecError) as found:
            load(kind, "x.yaml")
        assert SECRET not in str(found.value) and name in str(found.value)


def test_mistakes_in_files_of_ours_are_quoted(tmp_path):
    (tmp_path / "base.yaml").write_text("name: base\nresolution: 8\nstages: {r8: {widht: 3}}\n")
    (tmp_path / "x.yaml").write_text("name: x\nextends: ./base.yaml\n")
    with pytest.raises(SpecError, match="widht: 3"):
        load_entry(tmp_path / "x.yaml")


@pytest.mark.parametrize("kind", ["extends", "recipe", "entry"])
def test_files_of_zoo_path_stay_in_their_folder(tmp_path, monkeypatch, kind):
    shared, outside = tmp_path / "shared", tmp_path / "outside"
    for folder in (shared / "models", outside):
        folder.mkdir(parents=True)
        (folder / "base.yaml").write_text("name: base\nextends: mdm-micro\n")
        (folder / "r.yaml").write_text(f"name: r\nentry: mdm-micro\ndata: noto-emoji-64\n{PHASES}\n")
    name = "r.yaml" if kind == "recipe" else "base.yaml"
    monkeypatch.setenv("ZOO_PATH", str(shared))
    (shared / "x.yaml").write_text(FORMS[kind].replace("REF", f"./models/{name}"))
    load(kind, shared / "x.yaml")
    (shared / "link").symlink_to(outside)
    for reference in (f"../outside/{name}", str(outside / name), f"./link/{name}"):
        (shared / "x.yaml").write_text(FORMS[kind].replace("REF", reference))
        with pytest.raises(SpecError, match=r"is outside .*/shared, whose files refer only to each other"):
            load(kind, shared / "x.yaml")
    monkeypatch.setenv("ZOO_PATH", "")
    load(kind, shared / "x.yaml")


@pytest.mark.parametrize("content", ["secret words [\n", "secret: [", "{secret", "- secret"])
def test_links_to_other_files_are_not_quoted(tmp_path, monkeypatch, content):
    shared = tmp_path / "shared"
    (shared / "recipes").mkdir(parents=True)
    (tmp_path / "other").write_text(content)
    for link in ("x.yaml", "recipes/x.yaml"):
        (shared / link).symlink_to(tmp_path / "other")
    monkeypatch.setenv("ZOO_PATH", str(shared))
    for call, what in ((load_entry, "x"), (load_recipe, "x"), (load_entry, shared / "x.yaml")):
        with pytest.raises(SpecError, match="a link to a file that has none of the keys") as error:
            call(what)
        assert "secret" not in str(error.value)


def test_links_to_files_of_ours(tmp_path):
    (tmp_path / "other.yaml").write_text("name: x\nextends: mdm-micro\n")
    (tmp_path / "x.yaml").symlink_to(tmp_path / "other.yaml")
    assert load_entry(tmp_path / "x.yaml").spec.name == "x"


def test_long_chains_of_recipes(tmp_path):
    for number in range(1200):
        (tmp_path / f"r{number}.yaml").write_text(f"name: r{number}\nextends: ./r{number + 1}.yaml\n")
    with pytest.raises(SpecError, match="more than 100 recipes extend each other in a chain"):
        load_recipe(tmp_path / "r0.yaml")
