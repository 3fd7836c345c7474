"""Zip and parquet files as sources."""

from __future__ import annotations

import gzip
import json
import random
import zipfile

import pytest
from PIL import Image

from builders.data.errors import DataError, PackError
from builders.data.packing.pack import PackSettings, pack
from builders.data.packing.sources import find_sources, recognise
from tests.helpers.layouts import encode, make_samples


def zipped(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("top", ["", "set/", "other/"])
def test_a_zip_of_folders_is_read_as_the_folders(tmp_path, compression, top):
    samples = make_samples()
    members = [(f"{top}{s.label}/{s.name}.png", s.content) for s in samples]
    members += [(f"{top}{s.label}/{s.name}.txt", s.caption.encode()) for s in samples]
    members += [("__MACOSX/._x.png", b"junk"), (f"{top}.DS_Store", b"junk"), (f"{top}empty/", b"")]
    found = find_sources(zipped(tmp_path / "set.zip", members, compression))
    assert sorted((source.read(), source.category) for source in found) == sorted((s.content, s.label) for s in samples)


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_metadata_in_a_zip(tmp_path, name):
    image = encode(Image.new("RGB", (8, 8)))
    text = "file_name,text\na.png,x\n" if name.endswith("csv") else '{"file_name": "a.png", "text": "x"}'
    (source,) = find_sources(zipped(tmp_path / "x.zip", [("set/a.png", image), (f"set/{name}", text)]))
    assert source.caption == "x" and source.read() == image


def test_hostile_zips(tmp_path, monkeypatch):
    monkeypatch.setattr("builders.data.packing.zip_files.MAX_MEMBER", 1000)
    image = encode(Image.new("RGB", (8, 8)))
    members = [("a.png", image), ("../b.png", image), ("/c.png", image), ("d.png", b"\0" * 1001)]
    path = zipped(tmp_path / "x.zip", members)
    link = zipfile.ZipInfo("e.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr(zipfile.ZipInfo("f.png"), image, zipfile.ZIP_BZIP2)
    found = recognise(path)
    assert sorted(found.layout.left_out) == [
        "links and devices: 1 (e.png)",
        "members with unsafe names: 2 (../b.png, /c.png)",
    ]
    problems = {source.key: source.problem for source in found.sources}
    assert problems["a"] == "" and "1,001 bytes; the limit is 1,000" in problems["d"] and "not read" in problems["f"]


def test_a_member_larger_than_it_says(tmp_path, monkeypatch):
    monkeypatch.setattr("builders.data.packing.inflate.MAX_MEMBER", 1000)
    path = zipped(tmp_path / "x.zip", [("a.png", b"\0" * 4321)])
    content = path.read_bytes()
    path.write_bytes(content.replace((4321).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    (source,) = find_sources(path)
    with pytest.raises(DataError, match="more than 1,000 bytes when decompressed"):
        source.read()


def test_damaged_zips(tmp_path):
    path = zipped(tmp_path / "x.zip", [(f"{s.name}.png", s.content) for s in make_samples()])
    content, generator = path.read_bytes(), random.Random(0)
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(3):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        path.write_bytes(damaged[: generator.choice((len(damaged), generator.randrange(len(damaged))))])
        try:
            for source in find_sources(path):
                source.read()
        except DataError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("name", ["x.zip", "x.parquet", "x.json", "x.jsonl", "x.csv"])
def test_files_that_are_not_what_they_are_called(tmp_path, name, cli):
    path = tmp_path / name
    for content in (b"", b"junk", b"PK\3\4", b"PAR1", b"\0" * 100, b"PAR1\0\0\0\0PAR1"):
        path.write_bytes(content)
        with pytest.raises(PackError, match=rf"{name}"):
            find_sources(path)
    code, _, err = cli("data", "pack", path, "out", "--licence", "CC0", "-q")
    assert code == 2 and err.count("\n") == 1 and "Traceback" not in err


def test_a_parquet_file_of_paths(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

    samples = make_samples()[:3]
    for sample in samples:
        (tmp_path / f"{sample.name}.png").write_bytes(sample.content)
    table = pyarrow.table(
        {"file_name": [f"{s.name}.png" for s in samples], "text": ["x", "y", None], "label": [1.0, 2, 1]}
    )
    parquet.write_table(table, tmp_path / "x.parquet")
    found = find_sources(tmp_path / "x.parquet")
    assert [(s.caption, s.category, s.read()) for s in found] == [
        (caption, label, s.content) for caption, label, s in zip(("x", "y", ""), "121", samples, strict=True)
    ]


def test_a_parquet_file_with_several_columns_of_bytes(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

    image = encode(Image.new("RGB", (8, 8), (9, 8, 7)), "WEBP")
    parquet.write_table(pyarrow.table({"left": [image], "mask": [b""]}), tmp_path / "x.parquet")
    with pytest.raises(PackError, match=r"several columns may hold images \(left, mask\); name one with --image"):
        find_sources(tmp_path / "x.parquet")
    pack(find_sources(tmp_path / "x.parquet", image="left"), tmp_path / "out", "x", PackSettings(val=False))
    assert b".webp\0" in (tmp_path / "out" / "train-000000.tar").read_bytes()
    with pytest.raises(PackError, match="no image column 'right'"):
        find_sources(tmp_path / "x.parquet", image="right")


def write_parquet(path, images, **columns):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table({"image": images, **columns}), path)


def test_parquet_files_in_folders_of_splits(tmp_path):
    images = [s.content for s in make_samples()[:3]]
    for split, image in zip(("train", "validation", "test"), images, strict=True):
        write_parquet(tmp_path / "set" / "default" / split / "0000.parquet", [image])
    found = sorted(find_sources(tmp_path / "set"), key=lambda source: images.index(source.read()))
    assert [source.split for source in found] == ["train", "val", "test"]
    pack(found, tmp_path / "out", "x", PackSettings())
    # One file is no split.
    assert find_sources(tmp_path / "set" / "default" / "test")[0].split == ""
    write_parquet(tmp_path / "set" / "default" / "more" / "0000.parquet", images)
    with pytest.raises(PackError, match=r"more/0000.parquet: names no split \(train, val or test\), but .*train/0000"):
        find_sources(tmp_path / "set")


def test_splits_by_names_of_parquet_files(tmp_path):
    image = encode(Image.new("RGB", (2, 2)))
    for name in ("train", "validation", "mine-test-00000-of-00001"):
        write_parquet(tmp_path / f"{name}.parquet", [image])
    assert [source.split for source in find_sources(tmp_path)] == ["test", "train", "val"]


def test_lists_of_captions_in_parquet_are_not_lost(tmp_path):
    image = encode(Image.new("RGB", (2, 2)))
    write_parquet(tmp_path / "x.parquet", [image], caption=[["one", "two"]])
    with pytest.raises(PackError, match="row 1: 'caption' is a list or a mapping; a caption must be one text"):
        find_sources(tmp_path / "x.parquet")
    write_parquet(tmp_path / "x.parquet", [image], caption=[["one", "two"]], text=["three"])
    assert [source.caption for source in find_sources(tmp_path / "x.parquet")] == ["three"]


def test_images_that_were_not_downloaded(tmp_path):
    images = [s.content for s in make_samples()[:3]]
    write_parquet(tmp_path / "x.parquet", [None, *images], status=["failed_to_download", *["success"] * 3])
    found = recognise(tmp_path / "x.parquet")
    assert [source.read() for source in found.sources] == images
    assert found.layout.left_out == (f"images that were not downloaded: 1 ({tmp_path / 'x.parquet'}, row 1)",)


def test_rows_without_an_image_are_counted(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

    images = [s.content for s in make_samples()]
    table = pyarrow.table({"jpg": [None, *images], "caption": [str(i) for i in range(25)]})
    parquet.write_table(table, tmp_path / "x.parquet")
    found = pack(find_sources(tmp_path / "x.parquet"), tmp_path / "out", "x", PackSettings())
    assert sum(found.samples.values()) == 24
    assert found.broken == (f"{tmp_path / 'x.parquet'}, row 1: no image",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npz", b"PK\3\4", "it is a file of NumPy arrays; write the images to files"),
        ("x.h5", b"\x89HDF\r\n", "it is an HDF5 file"),
        ("x.jsonl.gz", gzip.compress(b"{}" * 600, mtime=0), "it is a file compressed by gzip; decompress it"),
        ("x.7z", b"7z\xbc\xaf\x27\x1c", "it is a 7z archive; unpack it and pack the folder"),
        ("x.tar", b"version https://git-lfs.github.com/spec/v1\n", "it is a pointer of Git LFS"),
        ("x.tar", b"<!DOCTYPE html><p>log in", "it is a web page"),
        ("x.tar", b"", "it is empty"),
        ("x.png", b"\x89PNG\r\n", "it is an image; give its folder"),
        ("x.xyz", b"abc", "zoo data pack reads folders of images or videos, CSV, TSV, JSON, JSONL and parquet files"),
    ],
)
def test_other_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PackError, match=rf"{name}: not a tar file: {message}"):
        find_sources(tmp_path / name)


def test_folders_as_data_must_be_packed(tmp_path):
    from builders.data.open import open_dataset

    for name, options in (("a.png", ""), ("a.csv", ""), ("a.mp4", " --frames 16 --rate 8 --resolution 64")):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(DataError, match=rf"no shards .* pack it first: zoo data pack {tmp_path} FOLDER{options}$"):
            open_dataset(tmp_path)
        (tmp_path / name).unlink()


def test_folders_and_addresses_of_other_files(tmp_path):
    (tmp_path / "list.csv").write_text("path\n")
    with pytest.raises(
        PackError, match=rf"no images in this folder; to pack what list.csv lists.* {tmp_path}/list.csv"
    ):
        find_sources(tmp_path)
    path = zipped(tmp_path / "x.zip", [("a/b.tar", b""), ("a/c.json", b"")])
    with pytest.raises(PackError, match=r"no images in this zip file, but a/b.tar; unpack it and pack a/b.tar"):
        find_sources(path)
    with pytest.raises(PackError, match=r"^https://example.com/x.parquet: only shards are downloaded"):
        find_sources("https://me:secret@example.com/x.parquet")


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.zip", "x.json"])
def test_tables_as_data_must_be_packed(tmp_path, name):
    from builders.data.open import open_dataset

    (tmp_path / name).write_bytes(b"PK\3\4" if name.endswith("zip") else json.dumps([1]).encode())
    with pytest.raises(DataError, match=rf"{name}.*pack it first: zoo data pack {tmp_path / name} FOLDER"):
        open_dataset(tmp_path / name)
