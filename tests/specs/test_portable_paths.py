"""Paths of a recipe in files that are given to others."""

from __future__ import annotations

import json

import pytest

from specs.recipe import load_recipe
from specs.recipe_identity import fingerprint, portable_data, portable_path, written


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("noto-emoji-64", "noto-emoji-64"),
        ("google/flan-t5-base", "google/flan-t5-base"),
        ("/home/me/data/mine", "./mine"),
        ("/home/me/data/mine/", "./mine"),
        ("~/data/mine", "./mine"),
        ("../me/mine", "./mine"),
        ("./mine", "./mine"),
        ("C:\\Users\\me\\mine", "./mine"),
        ("\\\\server\\me\\mine", "./mine"),
        ("file:///home/me/a.tar", "./a.tar"),
        ("/home/me/set-{000..012}.tar", "./set-{000..012}.tar"),
        ("https://host/sets/a.tar", "https://host/sets/a.tar"),
        ("s3://bucket/a.tar", "s3://bucket/a.tar"),
    ],
)
def test_a_portable_path_tells_nothing_about_the_machine(text, shown):
    assert portable_path(text) == shown == portable_path(shown)


def test_parts_of_a_mixture_stay_apart():
    assert portable_data({"/a/x": 1.0, "/b/y": 2.0}) == {"./x": 1.0, "./y": 2.0}
    assert portable_data({"/me/a/x": 1.0, "/me/b/x": 2.0}) == {"./a/x": 1.0, "./b/x": 2.0}
    assert list(portable_data({"/x": 1.0, "/x/": 2.0}).values()) == [1.0, 2.0]


def test_a_portable_recipe_is_the_same_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, weights = tmp_path / "mine", tmp_path / "first" / "w.safetensors"
    weights.parent.mkdir()
    weights.touch()
    recipe = load_recipe("micro-test", [f"data={data}", f"initialise={weights}"])
    found = written(recipe, portable=True)
    assert str(tmp_path) not in json.dumps(found)
    assert found["data"] == "./mine" and found["initialise"] == "./first/w.safetensors"
    assert fingerprint(type(recipe).model_validate_json(json.dumps(found))) == fingerprint(recipe)
