"""Metadata files in folders of images, as in Hugging Face's imagefolder."""

from __future__ import annotations

import json

import pytest

from builders.data.errors import PackError
from builders.data.packing.sources import find_sources, recognise
from tests.helpers.layouts import make_samples


def place(root, names):
    """Write an image for each name."""
    for name, sample in zip(names, make_samples(), strict=False):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(sample.content)


def captions(root, **options):
    return {source.path.removeprefix(f"{root}/"): source.caption for source in find_sources(root, **options)}


@pytest.mark.parametrize("column", ["file_name", "image_file_name", "File Name", "image"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_at_the_top(tmp_path, kind, column):
    place(tmp_path, ["a.png", "sub/b.png"])
    records = [{column: "a.png", "text": "one, two"}, {column: "sub/b.png", "text": "three"}]
    if kind == "csv":
        (tmp_path / "metadata.csv").write_text(f'{column},text\na.png,"one, two"\nsub/b.png,three\n')
    elif kind == "jsonl":
        (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, records)))
    else:
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

        parquet.write_table(pyarrow.Table.from_pylist(records), tmp_path / "metadata.parquet")
    assert captions(tmp_path) == {"a.png": "one, two", "sub/b.png": "three"}


def test_in_folders(tmp_path):
    place(tmp_path, ["train/a.png", "train/b.png", "val/a.png"])
    (tmp_path / "train/metadata.csv").write_text("file_name,text\na.png,x\nb.png,y\n")
    (tmp_path / "val/metadata.jsonl").write_text('{"file_name": "a.png", "text": "z"}\n')
    found = {source.caption: source.split for source in find_sources(tmp_path)}
    assert found == {"x": "train", "y": "train", "z": "val"}


def test_the_nearest_file_describes_an_image(tmp_path):
    place(tmp_path, ["a.png", "sub/b.png"])
    (tmp_path / "metadata.csv").write_text("file_name,text\na.png,x\nsub/b.png,z\n")
    (tmp_path / "sub/metadata.csv").write_text("file_name,text\nb.png,y\n")
    assert captions(tmp_path) == {"a.png": "x", "sub/b.png": "y"}


def test_delimiters_and_texts_beside_images(tmp_path):
    place(tmp_path, ["a.png"])
    (tmp_path / "metadata.csv").write_text("file_name:label\na.png:x\n")
    (tmp_path / "a.txt").write_text("a caption")
    found = recognise(tmp_path, delimiter=":")
    assert [source.category for source in found.sources] == ["x"]
    assert found.layout.notes == (f"{tmp_path}: captions in .txt files are not read beside metadata",)


def test_images_without_a_row_and_rows_without_an_image(tmp_path):
    place(tmp_path, [f"{index}.png" for index in range(8)])
    text = "file_name,text\n" + "".join(f"{index}.png,x{index}\n" for index in range(6))
    (tmp_path / "metadata.csv").write_text(text)
    found = recognise(tmp_path)
    assert len(found.sources) == 6
    assert found.layout.left_out == ("images that no row of the metadata lists: 2 (6.png, 7.png)",)
    (tmp_path / "metadata.csv").write_text(text + "gone.png,y\n../6.png,y\n/etc/x.png,z\n")
    with pytest.raises(PackError) as error:
        find_sources(tmp_path)
    for line, problem in (
        (8, "no file 'gone.png'"),
        (9, "'../6.png' lies outside of the folder"),
        (10, "'/etc/x.png' lies outside of the folder"),
    ):
        assert f"metadata.csv, line {line}: {problem}" in str(error.value)
    assert "3 of 9 rows cannot be used" in str(error.value)


def test_labels_come_from_columns_unless_asked(tmp_path):
    place(tmp_path, ["cat/a.png", "dog/b.png"])
    (tmp_path / "metadata.csv").write_text("file_name,text\ncat/a.png,x\ndog/b.png,y\n")
    found = recognise(tmp_path)
    assert {source.category for source in found.sources} == {""}
    assert "the names of folders (cat, dog, ...) are not labels beside metadata" in found.layout.notes[0]
    assert {source.category for source in find_sources(tmp_path, label="folder")} == {"cat", "dog"}
    (tmp_path / "metadata.csv").write_text("file_name,label\ncat/a.png,x\ndog/b.png,y\n")
    assert recognise(tmp_path).layout.notes == ()


def test_two_files_in_one_folder(tmp_path):
    place(tmp_path, ["a.png"])
    for name in ("metadata.csv", "metadata.jsonl"):
        (tmp_path / name).write_text("file_name,text\na.png,x\n")
    with pytest.raises(PackError, match="several metadata files; leave one of them"):
        find_sources(tmp_path)


def test_tables_beside_images_are_named(tmp_path):
    place(tmp_path, ["a.png"])
    (tmp_path / "captions.csv").write_text("file_name,text\na.png,x\n")
    (note,) = recognise(tmp_path).layout.notes
    assert note == f"captions.csv is not read; to use its captions and labels, pack {tmp_path / 'captions.csv'} instead"
