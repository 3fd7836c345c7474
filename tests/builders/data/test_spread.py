"""Part of a split, evenly spread over it."""

from __future__ import annotations

import pytest
from PIL import Image

from builders.data.open import open_dataset
from tests.helpers.shards import encode, write_tar


@pytest.mark.parametrize("memory", [True, False])
def test_at_most_so_many_samples_are_read_evenly_over_the_split(memory):
    data = open_dataset("noto-emoji-64").load(8, "val", memory=memory)
    total = len(data)
    for most in (1, 7, total - 1, total, total + 5):
        batches = list(data.in_order(5, most=most))
        index = [place for batch in batches for place in batch["index"].tolist()]
        count = min(most, total)
        assert index == [place * total // count for place in range(count)]
        assert max(len(batch["key"]) for batch in batches) <= 5


def test_parts_of_a_mixture_give_their_shares(tmp_path):
    paths = {}
    for name, count in (("a", 5), ("b", 50)):
        images = [(f"{name}{i}.png", encode(Image.new("RGB", (8, 8)))) for i in range(count)]
        paths[str(write_tar(tmp_path / f"{name}.tar", images))] = 1.0
    data = open_dataset(paths).load(8, "all")
    for most, wanted in ((11, (1, 10)), (33, (3, 30)), (2, (1, 2)), (None, (5, 50)), (99, (5, 50))):
        keys = [key for batch in data.in_order(4, most=most) for key in batch["key"]]
        assert tuple(sum(key.startswith(name) for key in keys) for name in "ab") == wanted
