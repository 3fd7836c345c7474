"""Which members of a shard form a sample."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
import warnings
from dataclasses import replace

import pytest
from PIL import Image

from builders.data.errors import DataError
from builders.data.inspection import inspect_dataset
from builders.data.open import open_dataset
from builders.data.packing.sources import PackError, find_sources, recognise
from builders.data.recognition.left_out import LeftOutWarning
from builders.data.shard_index import index_shard
from tests.helpers.shards import encode, samples, write_tar

PIXEL = encode(Image.new("RGB", (2, 2), (10, 20, 30)))
OTHERS = "ignore::builders.data.recognition.left_out.LeftOutWarning"


def shard(tmp_path, *names, mode="w", **texts):
    """Write a shard; a text holds its own name unless given."""
    members = []
    for name in names:
        is_text = name.lower().endswith((".txt", ".cls", ".json"))
        members.append(
            (name, texts.get(name, (b"{}" if name.endswith("json") else name.encode()) if is_text else PIXEL))
        )
    return write_tar(tmp_path / "x.tar", members, mode)


def captions(path):
    return {member.key: member.caption for member in index_shard(path, pytest.fail)}


@pytest.mark.parametrize(
    "names",
    [
        ["a.b.png", "a.b.txt", "c.png", "c.txt"],
        ["v1.2_cat.png", "v1.2_cat.txt", "v1.3_dog.jpg", "v1.3_dog.txt", "v2.0.png"],
        ["v1.2_cat.png", "v1.3_dog.jpg", "v2.1_cow.png", "v2.7.png"],
        ["v1.2_cat.png", "v1.3_dog.jpg", "v1.2_cat.txt", "v1.3_dog.txt"],
        ["d.e/a.1.2.3.png", "d.e/a.1.2.3.txt", "./b.PNG", "./b.TXT"],
        ["2024.01.01.png", "2024.01.02.png", "2024.01.03.png"],
        ["a.png", "a.txt", "a.b.png", "a.b.txt"],
        ["only.crop.png", "only.txt"],
        ["0.png", "0.png.txt", "1.a.png", "1.a.png.txt"],
    ],
)
def test_names_with_dots(tmp_path, names):
    path = shard(tmp_path, *names)
    found = captions(path)
    images = [name for name in names if not name.lower().endswith("txt")]
    assert len(found) == len(images)
    texts = {name.rpartition(".")[0].removesuffix(".png"): name for name in names if name.lower().endswith("txt")}
    for name in images:
        stem = name.rpartition(".")[0]
        assert found[stem] == texts.get(stem, texts.get(stem.partition(".")[0], ""))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["0.png", "0.caption"], {"0": "0.caption"}),
        (["0.png", "1.png", "1.caption", "0.caption"], {"0": "0.caption", "1": "1.caption"}),
        (["0.png", "0.caption", "0.txt"], {"0": "0.txt"}),
        (["0.png", "0.caption.txt"], {"0": "0.caption.txt"}),
        (["0.image.png", "0.prompt.txt", "0.tags.txt"], {"0.image": "0.prompt.txt"}),
        (["0.png", "0.text.txt", "0.txt"], {"0": "0.txt"}),
    ],
)
def test_members_that_are_called_like_captions(tmp_path, names, expected):
    texts = {name: name.encode() for name in names if not name.endswith("png")}
    assert captions(shard(tmp_path, *names, **texts)) == expected


def test_every_order_of_members_gives_the_same_samples(tmp_path):
    names = ["0.png", "0.txt", "1.png", "1.cls", "1.txt"]
    for mode, order in itertools.product(("w", "w:gz"), itertools.permutations(names)):
        path = shard(tmp_path, *order, mode=mode)
        found = {
            member.key: (member.caption, member.category, member.read()) for member in index_shard(path, pytest.fail)
        }
        assert found == {"0": ("0.txt", "", PIXEL), "1": ("1.txt", "1.cls", PIXEL)}


def test_texts_of_two_images_with_one_key_are_refused(tmp_path):
    path = shard(tmp_path, "0.png", "1.png", "0.png", "0.txt", "1.txt")
    assert [member.caption for member in index_shard(path, pytest.fail)] == ["", "0.txt", "1.txt"]
    path = shard(tmp_path, "0.png", "1.png", "0.png", "1.txt", "0.txt")
    with pytest.raises(DataError, match=r"x\.tar: 0\.txt: is not beside its image, and 2 images have its key; sort"):
        captions(path)
    with pytest.raises(DataError, match=r"0\.txt: there are two members of this name"):
        captions(shard(tmp_path, "0.png", "0.txt", "1.png", "0.txt"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["0.input.jpg", "0.outputs.txt"], "--image input.jpg --caption outputs.txt"),
        (
            ["0.input.jpg", "0.output.jpg", "0.txt"],
            "0.input.jpg, 0.output.jpg, 0.txt; choose one with zoo data pack --im",
        ),
        (["0.input.jpg", "0.output.jpg", "0.edit.txt"], "--image input.jpg --caption edit.txt, or make each image"),
        (["0.a.jpg", "0.b.jpg", "1.a.jpg", "1.b.jpg"], "samples have several images, such as 0.a.jpg, 0.b.jpg"),
        (["0.a.jpg", "1.a.jpg", "0.b.jpg", "1.b.jpg"], "samples have several images, such as 0.a.jpg, 0.b.jpg"),
    ],
)
def test_several_images_or_captions_must_be_chosen(tmp_path, cli, names, message):
    path = shard(tmp_path, *names)
    with pytest.raises(DataError) as error:
        open_dataset(path).load(2, "all")
    assert message in str(error.value) and "x.tar: " in str(error.value)
    code, _, err = cli("data", "pack", path, "out", "--licence", "CC0")
    assert code == 2 and message in err
    code, out, _ = cli("data", "inspect", path)
    assert code == 1 and "--image" in out


def test_choices(tmp_path, cli):
    path = shard(tmp_path, "0.input.jpg", "0.output.png", "0.edit.txt", "0.kind.txt", "1.input.jpg", "1.edit.txt")
    for image in ("input.jpg", "input", "INPUT"):
        found = recognise(path, image=image, caption="edit.txt", label="kind")
        assert [(source.key, source.extension, source.caption, source.category) for source in found.sources] == [
            ("00000/0", "jpg", "0.edit.txt", "0.kind.txt"),
            ("00000/1", "jpg", "1.edit.txt", ""),
        ]
        assert found.layout.left_out == ("further images of a sample: 1 (0.output.png)",)
    found = recognise(path, image="output", caption="edit")
    assert len(found.sources) == 1
    assert "images of samples without 'output': 1 (1.input.jpg)" in found.layout.left_out
    assert [source.key for source in find_sources(path, image="*")] == [
        "00000/0.input",
        "00000/0.output",
        "00000/1.input",
    ]
    code, out, _ = cli("data", "pack", path, "out", "--image", "input", "--caption", "edit", "--licence", "CC0", "-q")
    assert code == 0 and "captions: in the shards (2)" in out
    with pytest.raises(PackError, match="no image that is called 'mask' in its shards; images of samples without"):
        find_sources(path, image="mask")


def test_a_chosen_json(tmp_path):
    path = shard(tmp_path, "0.in.jpg", "0.meta.json", **{"0.meta.json": b'{"caption": "x", "label": 3.0}'})
    assert [(s.caption, s.category) for s in find_sources(path, image="in", caption="meta.json")] == [("x", "3")]


@pytest.mark.filterwarnings(OTHERS)
def test_what_is_left_out_is_named(tmp_path, cli):
    path = shard(tmp_path, "0.png", "0.jpg", "0.seg.png", "0.txt", "0.boxes.txt", "1.png", "2.txt", "3.npy", "x",
                 ".hidden.png", "__MACOSX/._0.png", "__meta__/x.txt", ".ipynb_checkpoints/4.png")  # fmt: skip
    with tarfile.open(path, "a") as tar:
        for name, kind in (("a.png", tarfile.SYMTYPE), ("b.png", tarfile.LNKTYPE), ("c.png", tarfile.FIFOTYPE),
                           ("d.png", tarfile.CHRTYPE), ("e", tarfile.DIRTYPE)):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "0.png"
            tar.addfile(info)
    lines = (
        ".npy members: 1 (3.npy)",
        "members without an extension: 1 (x)",
        "links: 2 (a.png, b.png)",
        "pipes and devices: 2 (c.png, d.png)",
        "texts without an image: 1 (2.txt)",
        "further images of a sample: 2 (0.jpg, 0.seg.png)",
        "further texts of a sample: 1 (0.boxes.txt)",
    )
    assert recognise(path).layout.left_out == inspect_dataset(path).left_out == lines
    assert json.loads(cli("data", "inspect", path, "--json")[1])["left_out"] == list(lines)
    assert "left out" in cli("data", "inspect", path)[1]
    for memory in (True, False):
        with pytest.warns(LeftOutWarning) as seen:
            assert len(open_dataset(path).load(2, "all", memory=memory)) == 2
        assert "links: 2" in str(seen[0].message) and ".npy" not in str(seen[0].message)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"label": 3.0}', "3"),
        ('{"label": 3}', "3"),
        ('{"label": "3"}', "3"),
        ('{"label": -1.0}', "-1"),
        ('{"label": -0.0}', "0"),
        ('{"label": 3.5}', "3.5"),
        ('{"label": true}', "True"),
        ('{"label": null, "cls": 2.0}', "2"),
        ('{"label": NaN}', ""),
        ('{"label": [1, 2]}', ""),
        ('{"label": 9007199254740993}', "9007199254740993"),
        ('{"category": "a", "label": 3.0}', "a"),
    ],
)
def test_labels_of_json(tmp_path, text, expected):
    path = shard(tmp_path, "0.png", "0.json", **{"0.json": text.encode()})
    assert [member.category for member in index_shard(path, pytest.fail)] == [expected]


def test_folders_in_a_shard_are_labels_if_asked_for(tmp_path, cli):
    path = shard(tmp_path, "photos/cat/0.png", "photos/dog/1.png", "photos/dog/2.png")
    code, out, _ = cli("data", "pack", path, "out", "--licence", "CC0", "-q")
    assert code == 0 and "labels: none" in out
    (note,) = recognise(path).layout.notes
    assert note == "the folders in the shards (cat, dog) are not labels; --label folder makes them labels"
    assert [source.category for source in find_sources(path, label="folder")] == ["cat", "dog", "dog"]


@pytest.mark.parametrize(("name", "warns"), [("1.heic", True), ("a/b.SVG", True), ("1.npy", False), ("index", False)])
def test_images_that_are_not_read_are_named_in_training(tmp_path, name, warns):
    path = write_tar(tmp_path / "x.tar", [("0.png", PIXEL), (name, PIXEL)])
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        assert len(open_dataset(path).load(2, "all")) == 1
    assert [name in str(each.message) for each in found] == [True] * warns


@pytest.mark.parametrize(
    "names",
    [
        ["./train/cat/0.png", "train/dog/1.png", "val/cat/2.png"],
        ["set/train/cat/0.png", "set/train/dog/1.png", "set/val/cat/2.png"],
        ["cat/train/0.png", "dog/train/1.png", "cat/val/2.png"],
    ],
)
def test_folders_in_a_shard_are_splits(tmp_path, names):
    path = shard(tmp_path, *names)
    assert [source.split for source in find_sources(path)] == ["train", "train", "val"]
    assert [source.category for source in find_sources(path, label="folder")] == ["cat", "dog", "cat"]
    assert [source.split for source in find_sources(shard(tmp_path, "train/0.png", "cat/1.png", "val/2.png"))] == [
        ""
    ] * 3


def test_packing_shards_again_keeps_their_splits(tmp_path):
    from tests.helpers.packs import packed

    write_tar(tmp_path / "x.tar", samples(60))
    first = packed(tmp_path / "x.tar", tmp_path / "first")
    again = packed(tmp_path / "first", tmp_path / "again")
    assert first.samples == again.samples and first.samples["val"] > 0
    for split in first.samples:
        captions = [open_dataset(found.folder).load(2, split).captions for found in (first, again)]
        assert sorted(captions[0]) == sorted(captions[1])
    assert {source.category for source in find_sources(tmp_path / "x.tar", label="none")} == {""}


@pytest.mark.parametrize("empty", ['""', '"  "', "null", "NaN"])
def test_an_empty_field_hides_no_other(tmp_path, empty):
    text = f'{{"caption": {empty}, "text": "a", "category": {empty}, "cls": 3}}'
    path = shard(tmp_path, "0.png", "0.json", **{"0.json": text.encode()})
    assert [(m.caption, m.category) for m in index_shard(path, pytest.fail)] == [("a", "3")]
    text = f'{{"caption": {empty}, "label": {empty}}}'
    path = shard(
        tmp_path, "0.png", "0.json", "0.txt", "0.cls", **{"0.json": text.encode(), "0.txt": b"b", "0.cls": b"4"}
    )
    assert [(m.caption, m.category) for m in index_shard(path, pytest.fail)] == [("b", "4")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("0.json", b'{"label": 1e400}', "label inf is no name of a class"),
        ("0.json", b'{"label": 1e300}', "label 1e+300 is no name of a class"),
        ("0.json", b'{"caption": ["a"]}', "'caption' is a list or a mapping; a caption must be one text"),
        ("0.txt", "café".encode("latin-1"), "sample '0': .txt: not UTF-8"),
        ("0.txt", "a red ball".encode("utf-16-le"), "sample '0': .txt: contains NUL characters, as UTF-16"),
        ("0.cls", b"\xff\xfe\x00", "sample '0': .cls: not UTF-16"),
    ],
)
def test_texts_that_cannot_be_read(tmp_path, name, content, message):
    path = shard(tmp_path, "0.png", name, **{name: content})
    errors = []
    assert list(index_shard(path, errors.append)) == [] and message in str(errors[0])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_texts_with_a_byte_order_mark(tmp_path, encoding):
    texts = {"0.txt": "ein Käse\r\n".encode(encoding), "0.cls": "3.0".encode(encoding)}
    path = shard(tmp_path, "0.png", *texts, **texts)
    assert [(m.caption, m.category) for m in index_shard(path, pytest.fail)] == [("ein Käse", "3")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a tar file"),
        (b"junk" * 1000, "not a tar file"),
        (None, "cut off"),
        (bytes(10240), "x.tar: no images in its shard"),
    ],
)
def test_shards_that_are_none_are_reported_as_such(tmp_path, cli, content, message):
    path = tmp_path / "x.tar"
    if content is None:
        write_tar(path, samples(3))
        content = path.read_bytes()[:1500]
    path.write_bytes(content)
    code, _, err = cli("train", "mdm-nano", "--data", path, "--steps", 30, "--output", "run")
    assert code == 2 and message in err and "labels" not in err


def test_unsafe_names_are_reported_as_such(tmp_path, cli):
    path = write_tar(tmp_path / "x.tar", [*samples(3), ("../a.png", PIXEL)])
    code, _, err = cli("train", "mdm-nano", "--data", path, "--steps", 30, "--output", "run")
    assert code == 2 and "unsafe member name '../a.png'" in err


def test_a_member_that_claims_to_be_huge(tmp_path):
    info = tarfile.TarInfo("0.png")
    info.size = 2**40
    (tmp_path / "x.tar").write_bytes(info.tobuf() + bytes(1024))
    with pytest.raises(DataError, match=r"0\.png has 1,099,511,627,776 bytes|cut off"):
        captions(tmp_path / "x.tar")


def test_many_members_with_one_key_are_arranged_in_linear_time():
    from builders.data.recognition.left_out import LeftOut
    from builders.data.recognition.members import arrange, parse_name

    names = [f"a.{n}.{end}" for end in ("png", "txt") for n in range(4000)]
    found = arrange([parse_name(place, name) for place, name in enumerate(names)], LeftOut())
    assert len(found) == 4000 and all(len(sample.members) == 2 for sample in found)


def test_a_file_system_that_returns_less_than_is_asked_for(tmp_path):
    class Slow(io.FileIO):
        def read(self, size=-1):
            return super().read(min(size, 7))

    class Shard(type(tmp_path)):
        def open(self, *_, **__):
            return Slow(self)

    content = bytes(range(100))
    write_tar(tmp_path / "a.tar", [("0.png", content)])
    member = next(index_shard(tmp_path / "a.tar", pytest.fail))
    assert replace(member, shard=Shard(member.shard)).read() == content
    assert replace(member, shard=Shard(member.shard), size=10**6).read()[:100] == content  # the shard is shorter now
