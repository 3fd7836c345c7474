"""Mixtures of datasets by weight."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from builders.data.errors import DataError
from builders.data.open import open_dataset
from tests.helpers.shards import encode, write_tar


def test_mixture(tmp_path):
    red = [(f"{i}.png", encode(Image.new("RGB", (8, 8), (255, 0, 0)))) for i in range(5)]
    blue = [(f"{i}.png", encode(Image.new("RGB", (8, 8), (0, 0, 255)))) for i in range(50)]
    red += [(f"{i}.json", b'{"category": "red"}') for i in range(5)]
    blue += [(f"{i}.json", b'{"category": "blue"}') for i in range(50)]
    paths = [write_tar(tmp_path / "r.tar", sorted(red)), write_tar(tmp_path / "b.tar", sorted(blue))]
    mixed = open_dataset({str(paths[0]): 3.0, str(paths[1]): 1.0})
    assert mixed.classes == ("red", "blue") and mixed.class_index("Blue") == mixed.class_index("1") == 1
    data = mixed.load(8, "all", seed=2)
    batch = data.batch(0, 400)
    share = (batch["classes"] == 0).float().mean()
    assert 0.65 < share < 0.85 and len(data) == 55
    # Class indices are those of the mixture.
    assert torch.equal(batch["image"][:, 0, 0, 0] > 0, batch["classes"] == 0)
    parts = [data.batch(start, 100) for start in range(0, 400, 100)]
    assert torch.equal(torch.cat([part["image"] for part in parts]), batch["image"])
    assert len(next(data.in_order(60))["key"]) == 5 and data.first(6)[0].shape[0] == 6


@pytest.mark.parametrize("weights", [{}, {"noto-emoji-64": 0.0}, {"noto-emoji-64": float("nan")}])
def test_bad_mixtures(weights):
    with pytest.raises(DataError, match=r"at least one|positive number"):
        open_dataset(weights)
