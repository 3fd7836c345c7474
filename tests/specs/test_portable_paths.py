"""Paths of a recipe in files that are given to others."""

from __future__ import annotations

import json

import pytest

from specs.errors import SpecError
from specs.recipe import load_recipe
from specs.recipe_identity import fingerprint, portable_data, portable_path, written

ENTRY = """\
name: moves
resolution: 8
frames: 4
defaults: {resnet: {groups: 4}, attention: {groups: 4}, temporal_attention: {heads: 4}}
head: {groups: 4}
stages: {r8: {width: 8}}
"""
RECIPE = """\
name: clips
entry: ./moves.yaml
data: clips
images: photos
phases:
  p8: {train: r8f4, steps: 1, batch: 4}
"""


def clips(folder, *changes, text=RECIPE):
    """Load a recipe for a level of clips."""
    (folder / "moves.yaml").write_text(ENTRY)
    (folder / "clips.yaml").write_text(text)
    return load_recipe(folder / "clips.yaml", changes)


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


def test_images_are_written_like_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stills").mkdir()
    recipe = clips(tmp_path, "images={./stills: 2, s3://bucket/a.tar?key=1: 1}")
    assert recipe.images == {"./stills": 2.0, "s3://bucket/a.tar?key=1": 1.0}
    assert recipe.images_name == "./stills+s3://bucket/a.tar" and recipe.data_name == "clips"
    assert written(recipe)["images"] == {str(tmp_path / "stills"): 2.0, "s3://bucket/a.tar": 1.0}
    found = written(recipe, portable=True)
    assert found["images"] == {"./stills": 2.0, "s3://bucket/a.tar": 1.0}
    assert fingerprint(type(recipe).model_validate_json(json.dumps(found))) == fingerprint(recipe)
    (tmp_path / "in").mkdir()
    placed = clips(tmp_path / "in", text=RECIPE.replace("images: photos", "images: sub/a.tar"))
    assert placed.images == "in/sub/a.tar"


def test_images_are_a_part_of_the_identity_of_a_recipe(tmp_path):
    found = [
        clips(tmp_path, change)
        for change in (
            "images=null",
            "images=photos",
            "images={photos: 1, drawings: 2}",
            "images={drawings: 2, photos: 1}",
        )
    ]
    assert len({fingerprint(recipe) for recipe in found}) == 4
    # Recipes without the key are written and identified as before there was one.
    assert "images" not in written(found[0]) and "images" not in written(load_recipe("micro-test"))
    assert fingerprint(load_recipe("micro-test")) == "aaa54bcb1675a30d"


def test_images_must_be_data_and_need_a_level_of_clips(tmp_path):
    with pytest.raises(SpecError, match="'images' is the name or path of a dataset, or {dataset: weight}"):
        clips(tmp_path, "images=3")
    with pytest.raises(SpecError, match=r"mdm-micro has no level of more than one frame: name the images under 'data'"):
        load_recipe("micro-test", ["images=photos"])
