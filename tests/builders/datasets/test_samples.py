"""Writing packaged datasets, and near-duplicates among their images."""

from __future__ import annotations

import hashlib
import tarfile
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from builders.data.open import open_data
from builders.data.splits import is_held_out
from builders.datasets import near_duplicates
from builders.datasets.command import run
from builders.datasets.near_duplicates import close_pairs, groups_of
from builders.datasets.samples import Sample, write_dataset


def test_close_pairs():
    x = np.array([[1.0, 0, 0], [1, 0.2, 0], [1, 0.5, 0], [0, 0, 0.1], [0, 0, 0.1]])
    assert close_pairs(x, 0.25) == [(0, 1), (3, 4)]
    assert close_pairs(x, 0.31) == [(0, 1), (1, 2), (3, 4)]


def test_close_pairs_of_many_images_are_found_in_parts(monkeypatch):
    x = np.random.default_rng(0).normal(size=(300, 4))
    whole = close_pairs(x, 0.4)
    monkeypatch.setattr(near_duplicates, "AT_ONCE", 3100)
    tracemalloc.start()
    assert close_pairs(x, 0.4) == whole and len(whole) > 9
    # All distances have 720,000 bytes.
    assert tracemalloc.get_traced_memory()[1] < 400_000
    tracemalloc.stop()


def test_groups():
    # b is close to c, and c has a variant that is close to d.
    assert groups_of(["d", "c", "b", "c", "a"], [(1, 2), (0, 3)]) == ["b", "b", "b", "b", "a"]


def test_groups_are_in_one_split(tmp_path):
    image = Image.new("RGB", (8, 8), "white")
    samples = [Sample(f"{group}-{i}", image, {"caption": "é"}, group) for group in "ABCDEFGHIJKLMNOPQR" for i in (0, 1)]
    write_dataset(tmp_path, {"name": "x"}, "notice", samples)
    found = {}
    for name in ("train", "val"):
        with tarfile.open(tmp_path / f"{name}.tar.gz") as tar:
            found[name] = {member.name[0] for member in tar}
            assert all((member.mtime, member.uid, member.uname) == (0, 0, "") for member in tar)
            assert tar.extractfile(tar.getmembers()[0]).read().startswith('{"caption":"é","group":"'.encode())
    assert found["val"] == {group for group in "ABCDEFGHIJKLMNOPQR" if is_held_out(group)} != set()
    assert not found["train"] & found["val"]
    for line in (tmp_path / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest


def test_a_split_without_samples_is_left_out(tmp_path):
    (tmp_path / "val.tar.gz").touch()  # of an earlier call
    write_dataset(tmp_path, {"name": "x"}, "", [Sample("k", Image.new("RGB", (8, 8)), {"caption": "c"}, "A")])
    assert len(open_data(tmp_path)) == 1 and not (tmp_path / "val.tar.gz").exists()
    assert (tmp_path / "SHA256SUMS").read_text().endswith("  train.tar.gz\n")


@pytest.mark.parametrize("side", ["7", "513", "6.5", "-8", "x"])
def test_impossible_sides(capsys, side):
    with pytest.raises(SystemExit, match="2"):
        run(lambda *_: None, "m", "Folder.", ["a", "b", f"--resolution={side}"])
    assert f"'{side}' is not a whole number from 8 to 512" in capsys.readouterr().err


def test_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").touch()

    def make(source, folder, side):
        write_dataset(folder, {"name": "x"}, "", [])

    assert run(make, "m", "Folder.", ["a", str(tmp_path / "file")]) == 2
    assert "error: " in capsys.readouterr().err
