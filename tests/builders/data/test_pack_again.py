"""Packing into a folder that holds a finished pack: it becomes the new pack, or unfinished, or stays unchanged."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from builders.data.errors import DataError
from builders.data.open import open_dataset
from builders.data.packing import pack as packing
from builders.data.packing.sources import PackError
from tests.helpers.packs import packed


def contents(out):
    return {path.name: path.read_bytes() for path in out.glob("*.tar")}


def spoil(folder):
    spoilt = sorted(folder.glob("*.png"))[3:15]
    for path in spoilt:
        path.write_bytes(b"junk")
    return spoilt


def test_what_cannot_be_finished_is_no_finished_pack(folder, tmp_path):
    out = tmp_path / "out"
    packed(folder, out)
    spoilt = spoil(folder)
    with pytest.raises(PackError, match="12 of 41 images are broken.*Fix or remove them and run the same command"):
        packed(folder, out)
    # The card listed shards that have changed since.
    assert not (out / "dataset.yaml").exists()
    for path in spoilt:
        path.unlink()
    found = packed(folder, out)
    assert sum(found.samples.values()) == 29 == len(open_dataset(out).load(split="all"))
    assert contents(out) == contents(packed(folder, tmp_path / "whole").folder)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_stopped_while_it_is_packed_again(folder, tmp_path, monkeypatch, after):
    out = tmp_path / "out"
    packed(folder, out)
    for index in (1, 12, 23, 34):
        Image.new("RGB", (8, 8), (1, 2, 3)).save(folder / f"{index:02}.png")
    real, count = packing.pack_shard, []

    def stopping(shard, *given):
        if len(count) == after:
            raise KeyboardInterrupt
        count.append(shard.path)
        # The card would mark the pack as finished while its shards differ.
        assert not (out / "dataset.yaml").exists()
        real(shard, *given)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(packing, "pack_shard", stopping)
        packed(folder, out)
    assert len(count) == after and not (out / "dataset.yaml").exists()
    with pytest.raises(DataError, match="this pack is not finished; run the same zoo data pack command to resume it"):
        open_dataset(out)
    again = packed(folder, out)
    whole = packed(folder, tmp_path / "whole")
    assert again.samples == whole.samples and contents(out) == contents(whole.folder)


def test_a_pack_of_which_nothing_changed_is_left_finished(folder, tmp_path):
    out = tmp_path / "out"
    spoil(folder)
    packed(folder, out, max_broken=0.5)
    before = contents(out)
    # Nothing is packed, so the pack stays finished; and images cannot be removed from a finished pack.
    with pytest.raises(PackError, match="12 of 41 images are broken.*; and 7 more. Fix them and run the same command"):
        packed(folder, out)
    assert contents(out) == before and len(open_dataset(out).load(split="all")) == 29


def test_packs_of_older_versions(folder, tmp_path, cli):
    out = tmp_path / "out"
    packed(folder, out)
    plan = out / ".pack.json"
    now, before = plan.read_text(), contents(out)
    plan.write_text(json.dumps({"identity": "0" * 64}))
    code, _, err = cli("data", "pack", folder, out, "--samples", "10", "--licence", "CC0", "-q")
    said = "holds a pack of an early version, which can only be read; choose another folder"
    assert code == 2 and f"{out} {said}" in err
    assert contents(out) == before and len(open_dataset(out).load(split="all")) == 41
    (out / "dataset.yaml").rename(tmp_path / "card")
    with pytest.raises(PackError, match=said):
        packed(folder, out)
    for junk in ("", "[]", "{"):
        plan.write_text(junk)
        with pytest.raises(PackError, match="holds a pack of other images or settings"):
            packed(folder, out)
    plan.write_text(now)
    (tmp_path / "card").rename(out / "dataset.yaml")
    again = packed(folder, out)
    assert again.kept == again.shards


def test_a_shard_that_was_cut_off_is_packed_again(folder, tmp_path):
    out = tmp_path / "out"
    packed(folder, out)
    before = contents(out)
    with (out / "train-000001.tar").open("r+b") as file:
        file.truncate(3000)
    again = packed(folder, out)
    assert again.kept == again.shards - 1 and contents(out) == before
