"""Clips as rows of frames, and back."""

from __future__ import annotations

import pytest
import torch

from builders.blocks.frames import as_clips, as_rows, cat_clips, for_frames, frames_outermost


def clips(batch=2, channels=3, frames=4, height=5, width=6):
    """Return clips with the frames outermost in memory."""
    return torch.randn(batch, frames, channels, height, width).transpose(1, 2)


def test_images_are_themselves():
    x = torch.randn(2, 3, 4, 5)
    assert as_rows(x) is x
    rows = torch.randn(2, 7, 2, 2)
    assert as_clips(rows, x) is rows


def test_rows_are_the_frames_in_order():
    x = clips()
    rows = as_rows(x)
    assert rows.shape == (8, 3, 5, 6)
    for row, (clip, frame) in enumerate((clip, frame) for clip in range(2) for frame in range(4)):
        assert torch.equal(rows[row], x[clip, :, frame])


def test_both_ways_are_views_of_frames_outermost_memory():
    x = clips()
    rows = as_rows(x)
    assert rows.data_ptr() == x.data_ptr()
    assert rows.is_contiguous()
    back = as_clips(rows, x)
    assert back.data_ptr() == x.data_ptr()
    assert back.shape == x.shape
    assert back.stride() == x.stride() == (4 * 3 * 30, 30, 3 * 30, 6, 1)


def test_channels_last_stays_channels_last():
    x = clips().to(memory_format=torch.channels_last_3d)
    rows = as_rows(x)
    assert rows.data_ptr() == x.data_ptr()
    assert rows.is_contiguous(memory_format=torch.channels_last)
    assert as_clips(rows, x).is_contiguous(memory_format=torch.channels_last_3d)


def test_channels_outermost_is_copied_into_order():
    x = torch.randn(2, 3, 4, 5, 6)
    rows = as_rows(x)
    assert rows.is_contiguous()
    back = as_clips(rows, x)
    assert torch.equal(back, x)
    assert back.stride() == clips().stride()


def test_channels_and_sides_may_change():
    x = clips()
    rows = torch.randn(8, 7, 2, 3)
    back = as_clips(rows, x)
    assert back.shape == (2, 7, 4, 2, 3)
    assert torch.equal(back[1, :, 2], rows[6])


def test_clips_are_joined_in_order():
    x, y = clips(channels=3), clips(channels=2)
    joined = cat_clips([x, y.contiguous()])
    assert torch.equal(joined, torch.cat([x, y], dim=1))
    assert joined.transpose(1, 2).is_contiguous()
    last = [each.to(memory_format=torch.channels_last_3d) for each in (x, y)]
    assert cat_clips(last).is_contiguous(memory_format=torch.channels_last_3d)


def test_what_a_clip_has_once_is_repeated_for_its_frames():
    value = torch.randn(2, 7)
    assert torch.equal(for_frames(value, clips()), value[[0] * 4 + [1] * 4])
    assert for_frames(value, torch.zeros(2, 3, 4, 5)) is value


def test_frames_are_put_outermost_once():
    x = clips()
    assert frames_outermost(x).data_ptr() == x.data_ptr()
    last = x.to(memory_format=torch.channels_last_3d)
    assert frames_outermost(last) is last
    assert frames_outermost(x.contiguous()).stride() == x.stride()


@pytest.mark.parametrize(("batch", "frames"), [(0, 4), (1, 1), (3, 1)])
def test_few_clips_and_frames(batch, frames):
    x = clips(batch=batch, frames=frames)
    rows = as_rows(x)
    assert rows.shape == (batch * frames, 3, 5, 6)
    assert as_clips(rows, x).shape == x.shape
