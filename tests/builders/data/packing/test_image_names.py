"""Names in tables: without an extension, of images in other folders, and words for missing values."""

from __future__ import annotations

import json

import pytest

from builders.data.errors import PackError
from builders.data.packing.sources import find_sources, recognise
from tests.helpers.layouts import make_samples

PIXEL = make_samples()[0].content


def put(folder, *names, **texts):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(PIXEL)
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def facts(path, **options):
    return [(source.key, source.caption or source.category) for source in find_sources(path, **options)]


@pytest.mark.parametrize("name", ["x.csv", "metadata.csv"])
def test_ids_without_an_extension(tmp_path, name):
    root = put(tmp_path, "a.jpg", "sub/b.png", **{name: "image_id,label\na,3\nsub/b,4\n"})
    path = root if name == "metadata.csv" else root / name
    assert facts(path, image="image_id") == [("a", "3"), ("sub/b", "4")]
    put(root, "a.png")
    with pytest.raises(
        PackError, match=r"line 2: several images have this name: .*a\.jpg, .*a\.png; add the extension"
    ):
        find_sources(path, image="image_id", max_broken=0)


@pytest.mark.parametrize(
    ("table", "images"),
    [
        ("labels.csv", ["images/a.jpg"]),
        ("train.csv", ["data/train/a.jpg", "data/test/c.jpg"]),
        ("annotations/train.csv", ["train2017/a.jpg", "val2017/b.jpg"]),
        ("labels/train.csv", ["images/train/a.jpg"]),
    ],
)
def test_images_in_another_folder(tmp_path, table, images):
    root = put(tmp_path / "set", *images, **{table: "path,label\na.jpg,cat\n"})
    found = recognise(root / table)
    assert [source.path for source in found.sources] == [str((root / images[0]).resolve())]
    assert found.layout.notes == (f"{root / table}: paths are relative to {(root / images[0]).parent}",)
    put(root, "other/a.jpg")
    with pytest.raises(PackError, match=r"has no a\.jpg, but several folders do"):
        find_sources(root / table)


def test_images_of_strangers_are_not_found(tmp_path):
    put(tmp_path, "other/a.jpg", **{"set/x.csv": "path\na.jpg\n"})
    (note,) = recognise(tmp_path / "set" / "x.csv").layout.notes
    assert "the files that it lists do not exist" in note


def test_annotations_of_coco(tmp_path):
    images = [{"id": n, "file_name": f"{n:012}.jpg"} for n in (1, 2)]
    captions = [{"image_id": n, "caption": f"c{n}"} for n in (1, 2)]
    put(tmp_path, *(f"train2017/{n:012}.jpg" for n in (1, 2)), "val2017/000000000003.jpg",
        **{"annotations/x.json": json.dumps({"images": images, "annotations": captions})})  # fmt: skip
    assert facts(tmp_path / "annotations" / "x.json") == [("000000000001", "c1"), ("000000000002", "c2")]


def test_words_for_missing_values(tmp_path):
    put(
        tmp_path,
        "a.jpg",
        "b.jpg",
        "c.jpg",
        **{"x.csv": "path,label,caption\na.jpg,3.0,nan\nb.jpg,NaN,NULL\nc.jpg,,N/A\n"},
    )
    found = recognise(tmp_path / "x.csv")
    assert [(source.category, source.caption) for source in found.sources] == [("3", ""), ("", ""), ("", "")]
    assert "labels: 1 class (no label: 2); captions: none" in str(found.layout)


@pytest.mark.parametrize(
    ("splits", "why"),
    [
        (("train", "", "test"), "line 3 has ''"),
        (("train", "val", "0"), "line 4 has '0'"),
        (("val", "test", "test"), "no row"),
    ],
)
def test_a_column_of_splits_that_is_not_used_is_named(tmp_path, splits, why):
    lines = "".join(f"{name}.jpg,{split}\n" for name, split in zip("abc", splits, strict=True))
    put(tmp_path, "a.jpg", "b.jpg", "c.jpg", **{"x.csv": f"path,split\n{lines}"})
    assert any(
        f"column 'split' does not assign splits ({why}" in note for note in recognise(tmp_path / "x.csv").layout.notes
    )
