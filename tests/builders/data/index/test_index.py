"""Indexes of shards: what they hold, when they are cached and read again, and that processes share them."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import subprocess
import sys
import threading

import pytest
import torch

from builders.data import shard_index
from builders.data.errors import DataError, MixedKindsError
from builders.data.index import cache, table
from builders.data.index.cache import open_index
from builders.data.index.members import Members
from builders.data.open import open_dataset
from builders.data.splits import is_held_out
from tests.helpers.paths import ROOT
from tests.helpers.shards import encode, samples, write_tar

BROKEN = [("bad.json", b"{"), ("bad.png", b"x"), ("draft.psd", b"")]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "indexes"


@pytest.fixture
def read(monkeypatch):
    """Paths of the shards that were read, in order."""
    paths = []

    def index_shard(path, *args, **kwargs):
        paths.append(path)
        return shard_index.index_shard(path, *args, **kwargs)

    monkeypatch.setattr(cache, "index_shard", index_shard)
    return paths


def shard(path, count=30, more=(), mode="w", **facts):
    return write_tar(path, [*samples(count, **facts), *more], mode)


def members_of(path):
    return list(shard_index.index_shard(path, lambda error: None))


def test_members_are_those_of_the_shard(tmp_path, read):
    odd = {"caption": "caf\u00e9, line\nbreak", "category": "a.b"}
    path = shard(tmp_path / "x.tar", 20, [("d/a.b.png", encode_one()), ("d/a.b.json", json.dumps(odd).encode())])
    expected = members_of(path)
    for _ in range(2):
        index = open_index(path)
        assert list(index) == expected and index.cached
        members = Members([index])
        assert list(members) == expected and len(members) == 21 and members[-1] == expected[-1]
        assert members[3:5] == tuple(expected[3:5]) and list(members.captions()) == [each.caption for each in expected]
        with pytest.raises(IndexError):
            members[21]
    assert read == [path]


def encode_one():
    from PIL import Image

    return encode(Image.new("RGB", (4, 4)))


def test_a_split_takes_rows_of_all_shards(tmp_path):
    paths = [shard(tmp_path / f"{n}.tar", 40 + n, category="ab"[n], caption=f"of {n}") for n in range(2)]
    indexes = [open_index(path) for path in paths]
    for held_out in (True, False):
        expected = [each for path in paths for each in members_of(path) if is_held_out(each.group) == held_out]
        members = Members.of_split(indexes, held_out)
        assert list(members) == expected and list(members.captions()) == [each.caption for each in expected]
        card = open_dataset(paths[0]).card.model_copy(update={"classes": ("b", "c")})
        assert members.classes(card).tolist() == [{"b": 0}.get(each.category, 2) for each in expected]
        assert list(pickle.loads(pickle.dumps(members))) == expected


def test_tables_of_several_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "ROWS", 4)
    paths = [shard(tmp_path / f"{n}.tar", count) for n, count in enumerate((10, 0, 5))]
    expected = [member for path in paths for member in members_of(path)]
    members = Members([open_index(path) for path in paths])
    assert list(members) == expected and list(members.captions()) == [each.caption for each in expected]
    assert list(pickle.loads(pickle.dumps(members))) == expected


def test_pandas_is_not_imported(tmp_path):
    """It takes longer than most shards."""
    code = """
import sys
from pathlib import Path
from builders.data.index.cache import open_index
for _ in range(2):
    assert len(open_index(Path(sys.argv[1]))) == 3
assert "pyarrow" in sys.modules and not {"pandas", "torch"} & set(sys.modules)
"""
    path = shard(tmp_path / "x.tar", 3)
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=300, cwd=ROOT)


def test_a_shard_is_read_again_when_it_changes(tmp_path, read, folder):
    path = shard(tmp_path / "x.tar", 5)
    assert len(open_index(path)) == 5 and len(open_index(path)) == 5 and len(read) == 1
    os.utime(path, ns=(0, 10**18))
    assert len(open_index(path)) == 5 and len(read) == 2
    shard(path, 6)
    assert len(open_index(path)) == 6 and len(read) == 3
    # One file for each path, and nothing else that grows.
    assert len(list(folder.glob("*.arrow"))) == 1 and len(list(folder.iterdir())) == 2
    # A damaged file is written again.
    (file,) = folder.glob("*.arrow")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    assert len(open_index(path)) == 6 and len(open_index(path)) == 6 and len(read) == 4


def test_what_is_broken_or_left_out_is_remembered(tmp_path, read):
    path = shard(tmp_path / "x.tar", 30, BROKEN)
    found = []
    for _ in range(2):
        index = open_index(path)
        found.append((index.errors, index.left_out.lines(), len(index), index.cached))
    assert found[0] == found[1] and len(read) == 1
    assert "its .json is not JSON" in found[0][0][0] and found[0][1] == (".psd members: 1 (draft.psd)",)


def test_broken_and_compressed_shards_are_not_cached(tmp_path, read, folder):
    whole = shard(tmp_path / "x.tar", 9).read_bytes()
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole[:3000])
    packed = tmp_path / "x.tar.gz"
    packed.write_bytes(gzip.compress(whole))
    for path in (cut, tmp_path / "none.tar", packed):
        for _ in range(2):
            index = open_index(path)
            assert (index.error is None) == (path == packed) and not index.cached
    assert len(read) == 6 and not list(folder.glob("*.arrow"))
    # The bytes of compressed images are held in memory, also in other processes.
    members = pickle.loads(pickle.dumps(Members([index])))
    assert [each.read() for each in members] == [each.content for each in members_of(packed)]


def test_a_cache_that_cannot_be_written(tmp_path, read, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file"))
    path = shard(tmp_path / "x.tar", 3)
    assert [len(open_index(path)), len(open_index(path)), len(read)] == [3, 3, 2]


def test_processes_that_start_together_read_a_shard_once(tmp_path, read):
    path = shard(tmp_path / "x.tar", 30)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(len(open_index(path)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [30] * 4 and read == [path]


def test_lazy_images_are_opened_from_the_cache(tmp_path, read):
    paths = [shard(tmp_path / f"{n}.tar", 30) for n in range(2)]
    dataset = open_dataset(str(tmp_path / "{0..1}.tar"))
    for split in ("train", "val"):
        data = dataset.load(8, split, memory=False)
        held = dataset.load(8, split, memory=True)
        one, other = data.batch(3, 12), held.batch(3, 12)
        assert one["key"] == other["key"] and torch.equal(one["image"], other["image"])
        assert torch.equal(data.classes, held.classes) and list(data.captions) == list(held.captions)
        again = pickle.loads(pickle.dumps(data))
        assert len(pickle.dumps(data)) < 10_000 and again.batch(3, 12)["key"] == one["key"]
    assert read == paths


def test_a_sample_is_looked_up_once(tmp_path, monkeypatch):
    data = open_dataset(shard(tmp_path / "x.tar", 12)).load(8, "all", memory=False)
    looked_up = []
    members, found = type(data.members), type(data.members).__getitem__
    monkeypatch.setattr(members, "__getitem__", lambda self, index: looked_up.append(index) or found(self, index))
    assert data.batch(0, 5)["index"].tolist() == looked_up


def test_shards_that_change_between_processes(tmp_path):
    path = shard(tmp_path / "x.tar", 5)
    sent = pickle.dumps(Members([open_index(path)]))
    shard(path, 7)
    with pytest.raises(DataError, match=r"x\.tar: the shards have changed since they were opened"):
        pickle.loads(sent)


def test_another_kind_of_samples_is_refused_from_the_cache_too(tmp_path):
    write_tar(tmp_path / "a.tar", [*samples(3), ("b.mp4", b"x"), ("b.json", b'{"frames": 4}')])
    (tmp_path / "dataset.yaml").write_text("name: x\nlicence: CC0\nsplits: {all: {shards: [a.tar], samples: 4}}\n")
    for _ in range(2):
        with pytest.raises(MixedKindsError, match=r"a\.tar: b\.mp4 is a video, but x holds images"):
            open_dataset(tmp_path).load(8, "all", memory=False)


def test_a_set_too_large_for_memory_is_not_decoded_first(tmp_path, monkeypatch):
    from builders.data import memory

    monkeypatch.setattr(memory, "MAX_BYTES", 3 * 8 * 8 * 10)
    monkeypatch.setattr(memory.Decoder, "add", lambda self, member: pytest.fail("decoded"))
    data = open_dataset(shard(tmp_path / "x.tar", 11)).load(8, "all")
    assert "read when drawn" in repr(data)
