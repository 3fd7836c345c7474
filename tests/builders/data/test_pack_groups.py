"""Near-duplicates that stay in one split, if their group is named."""

from __future__ import annotations

import json

from PIL import Image

from builders.data.open import open_dataset
from builders.data.packing.pack import PackSettings, pack
from builders.data.packing.sources import find_sources
from tests.helpers.shards import encode, write_tar


def grouped(tmp_path, key="group"):
    """Write a shard of forty images with a JSON key of four values, which may be labels or groups."""
    members = []
    for index in range(40):
        image = encode(Image.new("RGB", (8, 8), (6 * index, 0, 0)))
        members += [(f"{index:02}.png", image), (f"{index:02}.json", json.dumps({key: f"kind {index % 4}"}).encode())]
    return write_tar(tmp_path / "source.tar", members)


def test_what_others_call_a_group_does_not_decide_the_split(tmp_path):
    """Four labels called "group" would all be in one split."""
    shard = grouped(tmp_path)
    assert 0 < len(open_dataset(shard).load(split="val")) < 20
    found = pack(find_sources(shard), tmp_path / "out", "mine", PackSettings(resolution=8))
    assert 0 < found.samples["val"] < 20
    labelled = find_sources(shard, label="group")
    assert {source.category for source in labelled} == {f"kind {index}" for index in range(4)}


def test_groups_that_are_named_stay_on_one_side(tmp_path):
    shard = grouped(tmp_path, "scene")
    sources = find_sources(shard, group="scene")
    assert {source.group for source in sources} == {f"kind {index}" for index in range(4)}
    table = tmp_path / "table.csv"
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    table.write_text("path,scene\na.png,kitchen\n")
    assert find_sources(table, group="scene")[0].group == "kitchen"
    # Groups are still there when a pack is packed again.
    out = pack(sources, tmp_path / "out", "mine", PackSettings(resolution=8, val=False)).folder
    assert {source.group for source in find_sources(out)} == {f"kind {index}" for index in range(4)}


def test_a_card_without_splits_is_of_all_shards_beside_it(tmp_path):
    grouped(tmp_path)
    (tmp_path / "dataset.yaml").write_text("name: mine\nlicence: CC0\n")
    dataset = open_dataset(tmp_path)
    sizes = [len(dataset.load(split=split)) for split in ("train", "val", "all")]
    assert dataset.card.licence == "CC0" and sizes[0] + sizes[1] == sizes[2] == 40 and sizes[1]
