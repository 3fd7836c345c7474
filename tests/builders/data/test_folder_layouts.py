"""Layouts of folders of images: hidden files, links, splits, shards of img2dataset, labels of StyleGAN."""

from __future__ import annotations

import json
import os

import pytest
from PIL import Image

from builders.data.open import open_dataset
from builders.data.packing.sources import PackError, find_sources, recognise
from tests.helpers.packs import packed
from tests.helpers.shards import encode, samples, write_tar

PIXEL = encode(Image.new("RGB", (2, 2), (10, 20, 30)))


@pytest.fixture
def put(tmp_path):
    """Write files below a folder; images without content are pixels."""

    def put(*names, **texts):
        for name in names:
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(texts.get(name, PIXEL))
        return tmp_path / "set"

    return put


def facts(root, **options):
    return {source.key: (source.category, source.split) for source in find_sources(root, **options)}


def test_hidden_files_and_folders_are_skipped(put):
    root = put("cat/0.png", "cat/.ipynb_checkpoints/0-checkpoint.png", ".ipynb_checkpoints/1.png", "cat/._0.png",
               "__MACOSX/cat/0.png", "@eaDir/0.png", ".DS_Store", "cat/Thumbs.db", "dog/1.png")  # fmt: skip
    found = recognise(root)
    assert [source.key for source in found.sources] == ["cat/0", "dog/1"] and found.layout.left_out == ()
    assert str(found.layout) == f"{root}: folder of 2 images; labels: folders (cat, dog); captions: none"


def test_links_are_followed_inside_the_folder_and_otherwise_named(put, tmp_path):
    root = put("raw/cat/0.png", "dog/1.png")
    (tmp_path / "other").mkdir()
    for link, target in (("linked", "raw/cat"), ("outside", "../other"), ("dog/up", ".."), ("gone", "nowhere"),
                         ("turning", "turning")):  # fmt: skip
        (root / link).symlink_to(target, target_is_directory=True)
    found = recognise(root)
    assert [source.key for source in found.sources] == ["dog/1", "linked/0", "raw/cat/0"]
    assert found.layout.left_out == (
        "links to a folder that contains them: 1 (dog/up)",
        "broken links: 2 (gone, turning)",
        "links to folders outside of the source: 1 (outside)",
    )


def test_links_between_folders_end(put):
    root = put(*(f"{index}/x.png" for index in range(9)))
    for a in range(9):
        for b in range(9):
            (root / str(a) / f"to{b}").symlink_to(root / str(b), target_is_directory=True)
    assert 9 <= len(find_sources(root)) <= 9 + 81 * 9


def test_a_link_to_a_file_is_read(put, tmp_path):
    # As in the cache of the Hugging Face Hub, where files are links to blobs.
    root = put("cat/0.png")
    (tmp_path / "blob").write_bytes(PIXEL)
    (root / "cat" / "1.png").symlink_to(tmp_path / "blob")
    assert set(facts(root)) == {"cat/0", "cat/1"}


def test_pipes_are_named_and_not_opened(put):
    root = put("0.png")
    os.mkfifo(root / "pipe.png")
    os.mkfifo(root / "0.txt")
    found = recognise(root)
    assert [source.caption for source in found.sources] == [""]
    assert found.layout.left_out == ("pipes, sockets and devices: 2 (0.txt, pipe.png)",)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train/cat/0", "val/cat/0", "train/dog/1"], [("cat", "train"), ("dog", "train"), ("cat", "val")]),
        (["Training/cat/0", "Test/cat/0"], [("cat", "test"), ("cat", "train")]),
        (["train2017/0", "val2017/0"], [("", "train"), ("", "val")]),
        (["cat/train/0", "cat/validation/0"], [("cat", "train"), ("cat", "val")]),
        (["images/train/0", "images/val/0"], [("", "train"), ("", "val")]),
        (["bus/0", "train/1", "car/2"], [("bus", ""), ("car", ""), ("train", "")]),
        (["train/0", "train/1"], [("", "train"), ("", "train")]),
        (["images/0", "images/1"], [("", ""), ("", "")]),
        (["val/cat/0", "val/dog/1"], [("cat", ""), ("dog", "")]),
        (["val/cat/0", "test/dog/1"], [("dog", "test"), ("cat", "val")]),
        (["images/0", "cat/1"], [("cat", ""), ("images", "")]),
    ],
)
def test_splits(put, names, expected):
    root = put(*(f"{name}.png" for name in names))
    assert sorted(facts(root).items()) == sorted(
        zip(sorted(names), list(expected), strict=True), key=lambda pair: pair[0]
    )


def test_splits_beside_other_folders_are_ambiguous(put):
    root = put("train/0.png", "val/1.png", "cat/2.png")
    with pytest.raises(PackError, match="the folders train, val look like splits, but there are folders cat beside"):
        find_sources(root)
    assert {label for label, _ in facts(root, label="folder").values()} == {"train", "val", "cat"}
    (root / "cat" / "2.png").rename(root / "2.png")
    with pytest.raises(PackError, match=r"images such as 2\.png beside"):
        find_sources(root)


def test_splits_are_packed(put, tmp_path):
    root = put(*(f"{split}/{label}/{n}.png" for split in ("train", "val", "test") for label in "ab" for n in range(3)))
    found = packed(root, tmp_path / "out")
    assert found.samples == {"train": 6, "val": 6, "test": 6} and found.classes == ("a", "b")
    dataset = open_dataset(tmp_path / "out")
    for split, count in {"train": 6, "val": 6, "test": 6, "all": 18}.items():
        data = dataset.load(2, split)
        assert len(data) == count and (split == "all" or all(key.startswith(split) for key in data.keys))
    # Without a folder for val, samples are held out of train, and none of test.
    for path in sorted((root / "val").rglob("*.png")):
        path.rename(root / "train" / path.parent.name / f"more{path.name}")
    put(*(f"train/a/x{n}.png" for n in range(40)))
    found = packed(root, tmp_path / "held")
    assert found.samples["test"] == 6 and found.samples["train"] + found.samples["val"] == 52
    assert 0 < found.samples["val"] < 15


def test_labels_of_dataset_json(put):
    names = [f"00000/img{n:08}.png" for n in range(3)]
    labels = json.dumps({"labels": [[names[0], 7], [names[1], 0], ["00000/gone.png", 1]]}).encode()
    found = recognise(put(*names, "dataset.json", **{"dataset.json": labels}))
    assert [source.category for source in found.sources] == ["7", "0", ""]
    assert found.layout.left_out == (
        "images that dataset.json lists and that are missing: 1 (00000/gone.png)",
        "labels missing in dataset.json: 1 (00000/img00000002.png)",
    )
    assert "labels: dataset.json (0, 7; no label: 1)" in str(found.layout)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "dataset.json: not JSON"),
        ('{"labels": 3}', "labels must be a list of"),
        ('{"labels": [["a.png", 0], 3]}', "dataset.json, label 2: not a pair"),
        ('{"labels": [["a.png", [0, 1]]]}', "the label of a.png is a list or a mapping"),
        ('{"labels": [["a.png", 1e400]]}', "label inf is no name of a class"),
    ],
)
def test_broken_dataset_json(put, content, message):
    with pytest.raises(PackError) as error:
        find_sources(put("0/a.png", "dataset.json", **{"dataset.json": content.encode()}))
    assert message in str(error.value)


@pytest.mark.parametrize("content", ['{"labels": null}', '{"labels": []}', '{"labels": {}}'])
def test_a_dataset_json_without_labels(put, content):
    assert facts(put("00000/img00000000.png", "dataset.json", **{"dataset.json": content.encode()})) == {
        "00000/img00000000": ("", "")
    }


def test_folders_of_img2dataset_are_no_labels(put):
    texts = {f"0000{s}/0000{s}000{n}.txt": f"no. {s}{n}".encode() for s in range(2) for n in range(2)}
    extras = {f"0000{s}_stats.json": b"{}" for s in range(2)} | {f"0000{s}.parquet": b"PAR1" for s in range(2)}
    extras |= {name.replace(".txt", ".json"): b"{}" for name in texts}
    root = put(*(name.replace("txt", "jpg") for name in texts), *texts, *extras, **texts, **extras)
    found = recognise(root)
    assert [(source.caption, source.category) for source in found.sources] == [
        (f"no. {s}{n}", "") for s in range(2) for n in range(2)
    ]
    for name in extras:
        (root / name).unlink()
    assert {label for label, _ in facts(root).values()} == {""}  # known by the names of the images


def test_numbers_that_may_be_labels_are_refused(put):
    root = put("00000/a.png", "00001/b.png")
    with pytest.raises(PackError, match=r"00000, 00001 look like numbers of shards.*add --label folder"):
        find_sources(root)
    assert [label for label, _ in facts(root, label="folder").values()] == ["00000", "00001"]
    assert [label for label, _ in facts(root, label="none").values()] == ["", ""]
    assert [label for label, _ in facts(put("../mnist/0/a.png", "../mnist/1/b.png").parent / "mnist").values()] == list(
        "01"
    )


def test_archives_beside_images_are_refused(put, tmp_path, cli):
    root = put("cat/0.png", "dog/1.png")
    write_tar(root / "old.tar", samples(2))
    for arguments in (("pack", root, "out", "--licence", "CC0"), ("inspect", root)):
        code, _, err = cli("data", *arguments)
        assert code == 2 and "holds images (such as cat/0.png) and archives (such as old.tar)" in err
    (root / "old.tar").rename(root / ".old.tar")
    assert set(facts(root)) == {"cat/0", "dog/1"}


def test_shards_beside_other_files_are_read(put):
    root = put("00000.parquet", "00000_stats.json", "readme.txt")
    write_tar(root / "00000.tar", samples(2))
    assert len(find_sources(root)) == 2


def test_what_is_not_read_is_counted(put, cli):
    root = put(
        "0.png",
        "1.PSD",
        "2.psd",
        "x.mp4",
        "LICENSE",
        "old.heic",
        "old.txt",
        "readme.md",
        "0.txt",
        "0.caption",
        **{"0.txt": b"x"},
    )
    code, out, err = cli("data", "pack", root, "out", "--licence", "CC0", "-q")
    assert code == 0 and "folder of 1 image; labels: none; captions: files beside the images (1)" in out
    assert "left out: .psd files: 2 (1.PSD, 2.psd)" in err and "left out: .heic files: 1 (old.heic)" in err
    assert "left out: texts without an image: 1 (old.txt)" in err and "readme" not in err


def test_links_that_git_saved_as_text_are_named(put):
    root = put("dog/0.png", "cat", "labels", "nul", cat=b"../set/dog", labels=b"dogs and\ncats", nul=b"\0")
    assert recognise(root).layout.left_out == (
        "links that are saved as text: 1 (cat)",
        "files without an extension: 2 (labels, nul)",
    )


def test_folders_that_never_end(put):
    root = put("a/0.png", f"{'d/' * 300}0.png")
    found = recognise(root)
    assert len(found.sources) == 1 and "folders more than 100 deep: 1" in found.layout.left_out[0]


def test_what_a_set_of_images_leaves_out_is_named(put):
    from builders.data.image_folder import find_images
    from builders.data.recognition.left_out import LeftOutWarning

    root = put("0.png", "1.heic", "samples.json.txt")
    with pytest.warns(LeftOutWarning, match=r"set: left out \.heic files: 1 \(1\.heic\); texts without an image: 1"):
        assert len(find_images(root)) == 1


def captions(root, **options):
    return {source.key: (source.caption, source.category) for source in find_sources(root, **options)}


def test_captions_beside_images(put):
    texts = {
        "a.txt": "ein Käse\r\n".encode("utf-16"),
        "b.TXT": "\ufeffb".encode(),
        "c.caption": b"c",
        "d.png.txt": b"d",
        "e.json": b'{"caption": "", "text": "e", "class": 3.0}',
        "f.json": b"[1, 2]",
        "g.txt": b"",
        "g.json": b'{"prompt": "g"}',
        "h.json": b"{",
    }
    root = put(*(f"{name}.png" for name in "abcdefgh"), *texts, **texts)
    assert [caption for caption, _ in captions(root).values()] == ["ein Käse", "b", "c", "d", "e", "", "g", ""]
    found = captions(root, caption="text", label="class")
    assert found["e"] == ("e", "3") and found["a"] == ("", "")
    assert "its .json is not a mapping" in next(s.problem for s in find_sources(root, label="class") if s.key == "f")


@pytest.mark.parametrize(
    "content", ["café".encode("latin-1"), "你好".encode("gbk"), "ab".encode("utf-16-le"), b"\xff\xfea"]
)
def test_captions_that_cannot_be_read_are_named(put, tmp_path, content):
    root = put("a.png", "b.png", "a.txt", **{"a.txt": content})
    found = packed(root, tmp_path / "out", val=False)
    assert found.samples == {"train": 1} and found.broken[0].startswith(f"{root}/a.txt: ")
    # It can be repaired, also in a finished pack.
    (root / "a.txt").write_text("repaired")
    assert packed(root, tmp_path / "out", val=False).samples == {"train": 2}


def test_boxes_are_no_captions(put):
    box = b"0 0.5 0.5 0.25 0.1\n3 0.1 0.2 0.3 1\n"
    root = put("a.png", "b.png", "a.txt", "b.txt", **{"a.txt": box, "b.txt": b""})
    (note,) = recognise(root).layout.notes
    assert "the captions are numbers, such as '0 0.5 0.5 0.25 0.1'" in note
    (root / "b.txt").write_text("a cat")
    assert recognise(root).layout.notes == ()


def test_pipes_and_devices_in_a_table_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "good.png").write_bytes(PIXEL)
    (tmp_path / "x.csv").write_text("path\npipe.png\nzero.png\ngood.png\n")
    found = packed(tmp_path / "x.csv", tmp_path / "out", val=False)
    assert found.samples == {"train": 1}
    assert sorted(found.broken) == [f"{tmp_path}/{name}.png: not a regular file" for name in ("pipe", "zero")]


def test_the_kind_of_a_large_folder_is_found_soon(put, monkeypatch):
    from builders.data.recognition import walk

    monkeypatch.setattr(walk, "MAX_LOOKED_AT", 20)
    root = put(*(f"a/{n:03}.txt" for n in range(50)), "b/0.png")
    assert walk.first_file(root, ("png",)) is None and walk.first_file(root, ("txt",)) == "a/000.txt"
    monkeypatch.setattr(walk, "MAX_LOOKED_AT", 60)
    assert walk.first_file(root, ("png",)) == "b/0.png"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["photos/cat/0", "photos/dog/1"], [("cat", ""), ("dog", "")]),
        (["ILSVRC/train/cat/0", "ILSVRC/val/dog/1"], [("cat", "train"), ("dog", "val")]),
        (["a/b/train/cat/0", "a/b/val/cat/1"], [("cat", "train"), ("cat", "val")]),
        (["train/animals/cat/0", "train/animals/dog/1"], [("cat", "train"), ("dog", "train")]),
        (["set/images/cat/0", "set/images/dog/1"], [("cat", ""), ("dog", "")]),
        (["cat/0", "cat/1"], [("cat", ""), ("cat", "")]),
        (["photos/0", "photos/cat/1"], [("photos", ""), ("photos", "")]),
    ],
)
def test_folders_around_all_classes_are_no_labels(put, names, expected):
    assert list(facts(put(*(f"{name}.png" for name in names))).values()) == expected


def test_one_class_in_two_spellings(put):
    root = put("caf\u00e9/0.png", "cafe\u0301/1.png", "my cat/2.png", "my cat /3.png")
    assert sorted(label for label, _ in facts(root).values()) == ["caf\u00e9"] * 2 + ["my cat"] * 2


def test_images_that_are_there_twice_are_named(put):
    root = put("pool/0.png", "pool/1.png", "dog/2.png")
    (root / "cat").symlink_to("pool")
    (root / "dog" / "3.png").symlink_to("../pool/0.png")
    (note,) = recognise(root).layout.notes
    assert note == "3 images are there twice through links, such as cat/0.png and dog/3.png"


def test_labels_of_dataset_json_in_a_folder(put):
    labels = {f"{split}/dataset.json": json.dumps({"labels": [["00000/0.png", n]]}).encode()
              for n, split in enumerate(("train", "val"))}  # fmt: skip
    root = put("train/00000/0.png", "val/00000/0.png", *labels, **labels)
    assert facts(root) == {"train/00000/0": ("0", "train"), "val/00000/0": ("1", "val")}


def test_images_without_a_label_are_counted(put):
    assert "labels: folders (cat; no label: 2)" in str(recognise(put("cat/0.png", "1.png", "2.png")).layout)


def test_splits_of_a_set_of_images_are_named(put):
    from builders.data.dataset_card import UnusedSplitsWarning
    from builders.data.image_folder import find_images

    root = put("train/cat/0.png", "val/cat/1.png")
    with pytest.warns(UnusedSplitsWarning, match="set: the images of its splits train, val are one set; give the fold"):
        assert len(find_images(root)) == 2
    assert len(find_images(root / "val")) == 1


def test_shards_that_are_called_like_splits(tmp_path):
    from builders.data.dataset_card import UnusedSplitsWarning

    for name in ("set-train-000.tar", "set-train-001.tar", "set-validation-000.tar"):
        write_tar(tmp_path / name, samples(12))
    assert [s.split for s in find_sources(tmp_path)] == ["train"] * 24 + ["val"] * 12
    with pytest.warns(UnusedSplitsWarning, match="shards are called train and val, but without a dataset.yaml a hash"):
        assert open_dataset(tmp_path).shards.keys() == {"all"}


def test_control_characters_of_names_are_escaped(put, cli):
    root = put("c\x1b[31mt/0.png", "\x1b[2J.he\x07ic", "a\nb.txt", "train/1.png")
    code, out, err = cli("data", "pack", root, "out", "--licence", "CC0", "-q")
    assert code == 0 and "\x1b" not in out + err and "\x07" not in err and "a\nb" not in err


def test_numbered_classes_are_listed_in_order(put):
    assert "labels: folders (1, 2, 10)" in str(recognise(put("10/0.png", "2/0.png", "1/0.png")).layout)
