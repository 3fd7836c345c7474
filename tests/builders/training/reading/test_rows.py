"""Which rows of a batch are clips and which are images."""

from __future__ import annotations

import pytest

from builders.training.reading.rows import row_kinds
from specs.blocks.size import Size
from tests.helpers.graphs import clip_entry

THREE = ((16, 8), (8, 8), (8, 1))


@pytest.mark.parametrize(
    ("sizes", "rows", "expected"),
    [
        (((16, 1), (8, 1)), (2, 4), (0, 4, None, 16)),
        (((8, 4), (8, 1)), (2, 6), (2, 4, Size(8, 4), 8)),
        (((8, 4), (8, 1)), (6, 6), (6, 0, Size(8, 4), None)),
        (THREE, (2, 3, 8), (3, 5, Size(16, 8), 8)),  # as many clips as the video level with the most rows has
        (((8, 4), (16, 1), (8, 1)), (1, 2, 9), (1, 8, Size(8, 4), 16)),
        (((8, 4), (4, 4)), (2, 6), (6, 0, Size(8, 4), None)),  # no level takes images
    ],
)
def test_first_rows_are_clips(sizes, rows, expected):
    kinds = row_kinds(clip_entry(*sizes), rows)
    assert (kinds.clips, kinds.images, kinds.clip_size, kinds.image_side) == expected
    assert kinds.total == rows[-1]
