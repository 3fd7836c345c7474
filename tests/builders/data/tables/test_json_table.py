"""JSON and JSON Lines files in the forms that datasets use."""

from __future__ import annotations

import json

import pytest

from builders.data.errors import PackError
from builders.data.tables.json_table import json_lines_table, json_table

WANTED = [{"path": "a.png", "caption": "x"}, {"path": "b.png", "caption": "y"}]


@pytest.mark.parametrize(
    "content",
    [
        WANTED,
        {"data": WANTED},
        {"a.png": "x", "b.png": "y"},
        {"a.png": ["x"], "b.png": ["y"]},
        {"a.png": {"caption": "x"}, "b.png": {"caption": "y"}},
        {"path": ["a.png", "b.png"], "caption": ["x", "y"]},
    ],
)
def test_forms(content):
    table = json_table("x.json", json.dumps(content, indent=1))
    assert [{name: row.fields[name] for name in ("path", "caption")} for row in table.rows] == WANTED


def test_json_lines_and_json_under_the_name_of_the_other():
    lines = "\n".join(map(json.dumps, WANTED))
    for table in (json_table("x.json", lines), json_lines_table("x.jsonl", json.dumps(WANTED))):
        assert [row.fields for row in table.rows] == WANTED


def test_values():
    values = {"path": "a.png", "a": 3.0, "b": float("nan"), "c": None, "d": [1], "e": True, "f": 7}
    (row,) = json_lines_table("x.jsonl", json.dumps(values)).rows
    assert row.fields == {"path": "a.png", "a": "3.0", "b": "", "c": "", "d": None, "e": "True", "f": "7"}


def test_lines_that_are_no_records():
    table = json_lines_table("x.jsonl", '{"path": "a.png"}\n{\n\n[1]\n{"path": "b.png", "path": "c.png"}\n')
    assert [(row.number, row.problem) for row in table.rows] == [
        (1, ""),
        (2, "not JSON"),
        (4, "not a mapping"),
        (5, "the key 'path' is given twice"),
    ]


def test_labels_as_in_stylegan():
    content = {"labels": [["00000/img00000000.png", 6], ["00000/img00000001.png", 0]]}
    table = json_table("dataset.json", json.dumps(content))
    assert [tuple(row.fields.values()) for row in table.rows] == [
        ("00000/img00000000.png", "6"),
        ("00000/img00000001.png", "0"),
    ]
    assert json_table("dataset.json", '{"labels": null}').rows == ()


def test_coco():
    content = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "annotations": [
            {"image_id": 2, "caption": "y", "category_id": 5},
            {"image_id": 2, "caption": "another", "category_id": 5},
            {"image_id": 1, "category_id": 5},
            {"image_id": 1, "category_id": 6},
        ],
        "categories": [{"id": 5, "name": "cat"}, {"id": 6, "name": "dog"}],
    }
    table = json_table("x.json", json.dumps(content))
    assert [tuple(row.fields.values()) for row in table.rows] == [("a.png", "", ""), ("b.png", "y", "cat")]
    assert table.notes == (
        "x.json: 1 further captions are not used; an image has one caption, the first",
        "x.json: 1 images have objects of several categories, and no label",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3", "not a list of images; a list of records"),
        ('{"a": 1}', "this JSON has the keys 'a'; a list of records"),
        ("[1]", "record 1: not a mapping"),
        ("[[1, 2]]", "record 1: not a mapping"),
        ('[{"path": "a.png"},\n {"path": "b.png", "path": "c.png"}]', "the key 'path' is given twice"),
        ('{"a.png": "x", "a.png": "y"}', "the key 'a.png' is given twice"),
        ("[\n{]", r"not JSON \(line 2\)"),
        ("[" * 100_000, "not JSON"),
        ("", "not JSON"),
        ('{"labels": 3}', "'labels' is not a list"),
        ('{"labels": [["a.png"]]}', r"label 1: not a pair \[NAME, LABEL\]"),
        ('{"images": [{}], "annotations": []}', "image 1: no id"),
        ('{"images": [], "annotations": [3]}', "an annotation has no image_id"),
        ('{"images": [], "annotations": [], "categories": 3}', "categories"),
    ],
)
def test_other_json(text, message):
    with pytest.raises(PackError, match=rf"^x\.json.*{message}"):
        json_table("x.json", text)
