"""Packed data equals the source: every image, caption and label, for each layout; the table in docs/data.md."""

from __future__ import annotations

import pytest

from builders.data.open import open_dataset
from builders.data.packing.pack import PackSettings, pack
from builders.data.packing.sources import find_sources
from tests.helpers.layouts import LAYOUTS, decoded
from tests.helpers.paths import DOCS


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_packed_is_what_was_there(layout, tmp_path):
    source, samples = LAYOUTS[layout](tmp_path)
    pack(find_sources(source), tmp_path / "out", "mine", PackSettings())
    data = open_dataset(tmp_path / "out").load(8, "all")
    names = (*data.card.classes, "")
    found = [
        (image.permute(1, 2, 0).numpy().tobytes(), caption.strip(), names[index])
        for image, caption, index in zip(data.images, data.captions, data.classes.tolist(), strict=True)
    ]
    expected = [(decoded(sample.content), sample.caption.strip(), sample.label) for sample in samples]
    assert sorted(found) == sorted(expected)
    captions = sum(bool(sample.caption) for sample in samples)
    labels = sum(bool(sample.label) for sample in samples)
    counts = " | ".join(f"{count or '–'}" for count in (len(samples), captions, labels))
    assert f"| {layout} | {counts} |" in (DOCS / "data.md").read_text(encoding="utf-8")
