"""The nearest training clip, grids of samples with it, and previews of clips."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from builders.pixels import to_bytes
from builders.sampling import grid as grids
from builders.sampling import nearest
from builders.sampling.grid import grid_of_samples
from builders.sampling.nearest import most_compared, nearest_to_levels
from builders.sampling.previews import Previews, preview_sheet


def moving(*steps, side=8, frames=4, colour=-1.0):
    """Clips of a column that starts at the left and moves by a number of pixels a frame."""
    clips = torch.ones(len(steps), 3, frames, side, side)
    for row, step in enumerate(steps):
        for frame in range(frames):
            clips[row, :, frame, :, (frame * step) % side] = colour
    return clips


def levels_of(clips, still_side=4):
    """A level of the clips, one of half the frames and half the side, and one of the first frame."""
    half = torch.nn.functional.avg_pool3d(clips[:, :, ::2], (1, 2, 2))
    return [clips, half, torch.nn.functional.avg_pool2d(clips[:, :, 0], clips.shape[-1] // still_side)]


def test_frames_decide_among_clips_that_start_alike():
    training = to_bytes(moving(1, 2, 0))
    samples = moving(2, 0, 1) + 0.1 * torch.randn(3, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert nearest_to_levels(levels_of(samples), training).tolist() == [1, 2, 0]
    # A single level of clips.
    assert nearest_to_levels(levels_of(samples)[:1], training).tolist() == [1, 2, 0]


def test_the_first_frame_chooses_the_candidates(monkeypatch):
    """A clip that moves alike and starts otherwise is no candidate."""
    sample = moving(1, colour=-1.0)
    training = to_bytes(torch.cat([moving(1, colour=0.9), moving(0), moving(3)]))
    monkeypatch.setattr(nearest, "CANDIDATES", 2)
    assert nearest_to_levels(levels_of(sample), training).item() in (1, 2)


def test_how_many_are_compared():
    assert most_compared(16) == 5000 and most_compared(1024) == 85
    assert most_compared(16, 8) == 1000 and most_compared(256, 16) == 85 and most_compared(1024, 4096) == 1


def test_a_grid_of_clips_is_written_twice(tmp_path):
    clips = moving(1, 2, 3)
    found = grid_of_samples(levels_of(clips), ["a", "b", "c"], (to_bytes(clips), ["x", "y", "z"]), title="title")
    paths = found.save(tmp_path / "grids" / "a.png", 5)
    assert [path.name for path in paths] == ["a.png", "a.webp"]
    with Image.open(paths[1]) as picture:
        assert picture.n_frames == 4 and picture.size == found.animation.shape[2:0:-1]
        picture.seek(1)
        picture.load()
        assert picture.info["duration"] == 200
    assert found.sheet.width == 2 * 16 + 64 + 3 * 16 + 10 * 64 + 7 * 3  # 1, 2, 4 and 4 frames
    images = grid_of_samples(levels_of(clips)[2:], ["a", "b", "c"])
    assert images.animation is None and images.save(tmp_path / "b.png") == [tmp_path / "b.png"]


def test_animations_are_bounded(monkeypatch):
    levels = levels_of(moving(*range(5)))
    alone = grid_of_samples([level[:2] for level in levels], ["", ""]).animation
    monkeypatch.setattr(grids, "ANIMATED", 2)
    assert (grid_of_samples(levels, [""] * 5).animation == alone).all()
    monkeypatch.setattr(grids, "ANIMATED_BYTES", 1000)
    assert grid_of_samples(levels, [""] * 5).animation is None


def test_previews_have_three_frames_of_a_clip():
    previews = Previews(4, samples=2, moments=2)
    ramp = torch.linspace(-1, 1, 5)[None, None, :, None, None].expand(1, 3, 5, 8, 8)
    for number in range(1, 5):
        for row in range(3):
            previews(range(row, row + 1), number, [ramp, torch.zeros(1, 3, 4, 4)])
    assert sorted(previews.images) == [2, 4]
    shown = [level[:, 0, 0, 0].tolist() for level in previews.images[4]]
    assert shown == [[1.0, 1.0], [0.0, 0.0], [-1.0, -1.0], [0.0, 0.0]]
    sheet = preview_sheet(previews, ["a", "b"])
    # Rows of a sample: the image, then the first, the middle and the last frame.
    lefts, tops = [16 + 48, 16 + 104 + 48], [16 + 18 + 18 + place * 104 + 48 for place in range(4)]
    for x in lefts:
        assert [sheet.getpixel((x, y))[0] for y in tops] == [128, 0, 128, 255]


@pytest.mark.parametrize("frames", [2, 3])
def test_previews_of_short_clips(frames):
    previews = Previews(1, samples=1)
    previews(range(1), 1, [torch.zeros(1, 3, frames, 8, 8)])
    assert len(previews.images[1]) == frames
