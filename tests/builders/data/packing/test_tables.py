"""Tables as sources: columns, rows that cannot be used, encodings, what they name."""

from __future__ import annotations

import json
import os

import pytest

from builders.data.errors import PackError
from builders.data.packing.sources import find_sources, recognise
from tests.helpers.layouts import encode, make_samples
from tests.helpers.shards import write_tar


def write(folder, name, text, encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def rows(samples, *, start="path,caption,label\n"):
    return start + "".join(f'img/{s.name}.png,"c {i}",l{i % 2}\n' for i, s in enumerate(samples))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.json"])
def test_encodings(photos, samples, name, encoding):
    records = [{"path": f"img/{s.name}.png", "caption": f"猫 é {i}"} for i, s in enumerate(samples)]
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    text = {
        "x.csv": "path,caption\n" + "".join(f"{r['path']},{r['caption']}\n" for r in records),
        "x.jsonl": "\n".join(lines),
        "x.json": json.dumps(records, ensure_ascii=False),
    }[name]
    found = find_sources(write(photos, name, text, encoding))
    assert [source.caption for source in found] == [f"猫 é {i}" for i in range(24)]


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.json"])
def test_an_encoding_that_is_not_known_is_named(tmp_path, name):
    with pytest.raises(PackError, match=rf"{name}: not UTF-8 .*save it as UTF-8"):
        find_sources(write(tmp_path, name, "path,caption\na.png,é\n", "latin1"))


@pytest.mark.parametrize(
    ("header", "options"),
    [
        ("PATH,CAPTION,LABEL", {}),
        ("Image Path,Text,Class", {}),
        ("image-file,Prompt,category", {}),
        ("photo,caption,label", {}),  # the only column of images
        ("left_file_name,caption,label", {}),
        ("photo,words,kind", {"image": "photo", "caption": "words", "label": "kind"}),
        ("Photo,Words,Kind", {"image": "photo", "caption": "words", "label": "kind"}),
    ],
)
def test_columns(photos, samples, header, options):
    found = find_sources(write(photos, "x.csv", rows(samples, start=header + "\n")), **options)
    assert [source.caption for source in found] == [f"c {i}" for i in range(24)]
    assert {source.category for source in found} == {"l0", "l1"}


def test_columns_that_are_found_are_named(photos, samples):
    with pytest.raises(PackError, match=r"no column of image paths; its columns are 'id', 'words' \(sep.* tabs\)"):
        find_sources(write(photos, "x.tsv", "id\twords\n1\tx\n"))
    with pytest.raises(PackError, match=r"several columns hold image paths \(a, b\).*name the column with --image"):
        find_sources(write(photos, "x.csv", "a,b\nx.png,y.png\n"))
    with pytest.raises(PackError, match=r"several columns hold image paths \(a_file_name, b_file_name\)"):
        find_sources(write(photos, "x.csv", "a_file_name,b_file_name\nx.png,y.png\n"))
    with pytest.raises(PackError, match=r"column 'url' holds addresses, which are not downloaded \(img2dataset"):
        find_sources(write(photos, "x.csv", "url,caption\nhttps://example.com/a.png,x\n"))
    with pytest.raises(PackError, match=r"no image column 'pth'; did you mean 'path'\?.*columns are 'path', "):
        find_sources(write(photos, "x.csv", rows(samples)), image="pth")
    found = recognise(write(photos, "x.csv", rows(samples, start="path,words,kind\n")))
    assert found.layout.notes == (
        f"{photos / 'x.csv'}: columns words, kind are not used; name captions with --caption and labels with --label",
    )


def test_a_column_of_splits(photos, samples):
    names = ["train"] * 18 + ["validation"] * 3 + ["Test"] * 3
    lines = [f"img/{s.name}.png,x,{name}" for s, name in zip(samples, names, strict=True)]
    found = find_sources(write(photos, "x.csv", "\n".join(["path,caption,Split", *lines])))
    assert [source.split for source in found] == ["train"] * 18 + ["val"] * 3 + ["test"] * 3
    # "split" has another meaning if not every row names a split.
    found = find_sources(write(photos, "y.csv", "\n".join(["path,caption,split", *lines[:-1], lines[-1] + "x"])))
    assert {source.split for source in found} == {""}
    records = {name: [{"path": f"img/{s.name}.png"}] for name, s in zip(("train", "val"), samples, strict=False)}
    assert [s.split for s in find_sources(write(photos, "x.json", json.dumps(records)))] == ["train", "val"]


def test_long_texts_are_shortened(photos):
    for header in ("path,caption", "photo,caption", "i" * 1000):
        with pytest.raises(PackError) as error:
            find_sources(write(photos, "x.csv", f"{header}\n{'A' * 100_000},x\n"))
        assert len(str(error.value)) < 800


def test_whole_numbers_as_labels(photos, samples):
    text = "path,label\n" + "".join(f"img/{s.name}.png,{i % 3}.0\n" for i, s in enumerate(samples))
    assert {source.category for source in find_sources(write(photos, "x.csv", text))} == {"0", "1", "2"}
    text += "img/x.png,1.5\n"
    assert {source.category for source in find_sources(write(photos, "y.csv", text))} == {"0.0", "1.0", "2.0", "1.5"}
    lines = "".join(json.dumps({"path": f"{i}.png", "label": float(i)}) + "\n" for i in range(3))
    assert {source.category for source in find_sources(write(photos, "x.jsonl", lines))} == {"0", "1", "2"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("img/1.png,a, b,c", "4 fields, but the header has 3"),
        ("img/1.png,a", "2 fields, but the header has 3"),
        (",a,b", "no image path; looked for path"),
        ("https://me:secret@example.com/1.png?key=secret,a,b", "https://example.com/1.png is an address"),
        ("notes.txt,a,b", "'notes.txt' is not a png"),
        ("folder,a,b", "'folder' is not a png"),
    ],
)
def test_rows_that_cannot_be_used(photos, samples, line, problem):
    path = write(photos, "x.csv", rows(samples) + line + "\n")
    with pytest.raises(PackError) as error:
        find_sources(path)
    assert f"{path}, line 26: {problem}" in str(error.value) and "secret" not in str(error.value)
    # A few are skipped and counted.
    found = find_sources(path, max_broken=0.1)
    assert len(found) == 25 and problem in found[-1].problem


def test_many_rows_that_cannot_be_used(photos):
    path = write(photos, "x.csv", "path,caption\n" + "a.png,x,y\n" * 7 + "b.png,x\n")
    with pytest.raises(PackError, match=r"x\.csv: 7 of 8 rows cannot be used: line 2: 3 .*; line 6: .*; and 2 more"):
        find_sources(path)


def test_skipped_rows_are_listed(photos, samples, cli):
    path = write(photos, "x.csv", rows(samples) + "a.png,b, c,d\n")
    code, out, err = cli("data", "pack", path, "out", "--licence", "CC0", "--max-broken", 0.1, "-q")
    assert code == 0 and "1 broken image skipped" in out and f"skipped: {path}, line 26: 4 fields" in err
    code, _, err = cli("data", "pack", path, "other", "--licence", "CC0", "-q")
    assert code == 2 and f"{path}, line 26: 4 fields" in err


def test_options_of_the_command(photos, samples, cli):
    path = write(photos, "x.txt.csv", rows(samples, start="photo,words,kind\n").replace(",", ":"))
    names = ("--image-column", "photo", "--caption-column", "words", "--label-column", "kind", "--delimiter", ":")
    code, out, err = cli("data", "pack", path, "out", "--licence", "CC0", "-q", *names)
    assert code == 0 and "2 classes" in out, err
    assert cli("data", "pack", path, "o", "--delimiter", "::")[0] == 2


def test_images_in_tar_files(tmp_path):
    images = make_samples("JPEG")
    write_tar(tmp_path / "a.tar", [(f"x/{s.name}.jpg", s.content) for s in images])
    text = "tar\tfile\tcaption\t\n" + "".join(f"a.tar\tx/{s.name}.jpg\t{i}\t\n" for i, s in enumerate(images))
    found = find_sources(write(tmp_path, "x.tsv", text))
    assert [source.read() for source in found] == [s.content for s in images]
    assert [source.caption for source in found] == [str(i) for i in range(24)]
    for line, problem in (("a.tar\ty.jpg\tx", "has no file 'y.jpg'"), ("b.tar\ty.jpg\tx", "b.tar: no such file")):
        with pytest.raises(PackError, match=rf"x\.tsv, line 2: .*{problem}"):
            find_sources(write(tmp_path, "x.tsv", f"tar\tfile\tcaption\n{line}\n"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes")
def test_pipes_are_not_read(photos, samples, cli):
    os.mkfifo(photos / "img" / "pipe.png")
    text = rows(samples) + "img/pipe.png,x,y\n"
    code, _, err = cli("data", "pack", write(photos, "x.csv", text), "out", "--licence", "CC0", "-q")
    assert code == 0 and "pipe.png: not a regular file" in err
    os.mkfifo(photos / "pipe.csv")
    code, _, err = cli("data", "pack", photos / "pipe.csv", "other", "--licence", "CC0", "-q")
    assert code == 2 and "pipe.csv: not a regular file" in err


def test_lists_of_paths(photos, samples):
    found = find_sources(write(photos, "list.txt", "".join(f"img/{s.name}.png\n" for s in samples)))
    assert [source.read() for source in found] == [sample.content for sample in samples]


def test_letters_that_other_systems_compose(tmp_path, samples):
    (tmp_path / "e\u0301.png").write_bytes(samples[0].content)
    (source,) = find_sources(write(tmp_path, "x.csv", "path\n\xe9.png\n"))
    assert source.read() == samples[0].content


def test_paths_of_windows(photos, samples):
    found = find_sources(write(photos, "x.csv", rows(samples).replace("img/", "img\\")))
    assert found[0].read() == samples[0].content and found[0].key == f"img/{samples[0].name}"


def test_absolute_paths_and_folders_above(photos, samples):
    (photos / "deep").mkdir()
    (name, other) = (f"{sample.name}.png" for sample in samples[:2])
    text = f"path,caption\n{photos / 'img' / name},x\n../img/{other},y\n"
    assert [source.read() for source in find_sources(write(photos / "deep", "x.csv", text))] == [
        sample.content for sample in samples[:2]
    ]


def test_duplicates_and_missing_files(photos, samples, cli):
    path = write(photos, "x.csv", rows(samples) + rows(samples, start=""))
    code, _, err = cli("data", "pack", path, "out", "--licence", "CC0", "-q")
    assert code == 2 and f"{path}, line 26: {photos}/img/{samples[0].name}.png is listed twice (also in line 2);" in err
    code, _, err = cli("data", "pack", write(photos, "y.csv", "path\na.png\nb.png\n"), "o", "--licence", "CC0", "-q")
    assert code == 2 and "2 of 2 images are broken" in err and "a.png: No such file" in err
    assert f"the files that it lists do not exist; paths are relative to {photos}" in err


def test_an_image_under_another_extension_is_read(tmp_path, cli):
    from PIL import Image

    (tmp_path / "a.JPEG").write_bytes(encode(Image.new("RGB", (8, 8)), "PNG"))
    code, out, _ = cli("data", "pack", write(tmp_path, "x.csv", "path\na.JPEG\n"), "out", "--licence", "CC0", "-q")
    assert code == 0 and "0 broken" in out
