"""Clips as rows of frames, for layers that treat every frame as an image of its own.

A clip is (batch, channels, frames, height, width) with its frames one after the other in memory, that is, with the
strides of a contiguous (batch, frames, channels, height, width). In that order both functions return views. Other
orders, such as the result of ``torch.cat``, cost one copy.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["as_clips", "as_rows", "cat_clips", "for_frames", "frames_outermost"]


def as_rows(x: Tensor) -> Tensor:
    """Return the frames of clips as rows of images.

    Args:
        x: Clips (batch, channels, frames, height, width), or images (batch, channels, height, width).

    Returns:
        Images (batch * frames, channels, height, width), the frames of a clip one after the other; ``x`` itself if it
        holds images.
    """
    return x.transpose(1, 2).flatten(0, 1) if x.dim() == 5 else x


def as_clips(rows: Tensor, like: Tensor) -> Tensor:
    """Return rows of images as the clips that they came from: the inverse of :func:`as_rows`.

    Args:
        rows: Images (batch * frames, channels, height, width); channels, height and width are free.
        like: Clips (batch, ..., frames, height, width) that have the number of clips and of frames, or images.

    Returns:
        Clips (batch, channels, frames, height, width) with the frames outermost in memory, a view of ``rows``;
        ``rows`` itself if ``like`` holds images.
    """
    if like.dim() != 5:
        return rows
    return rows.unflatten(0, (like.shape[0], like.shape[2])).transpose(1, 2)


def cat_clips(clips: Sequence[Tensor]) -> Tensor:
    """Join clips (batch, channels, frames, height, width) along the channels, with the frames outermost in memory.

    ``torch.cat`` of the clips themselves puts the channels outermost, and the next spatial block copies its result.
    """
    return as_clips(torch.cat([as_rows(each) for each in clips], dim=1), clips[0])


def for_frames(value: Tensor, like: Tensor) -> Tensor:
    """Repeat what a clip has once, such as its time embedding or its prompt, for each of its frames.

    Args:
        value: Tensor (batch, ...).
        like: Clips (batch, channels, frames, height, width), or images.

    Returns:
        Tensor (batch * frames, ...) in the order of :func:`as_rows`; ``value`` itself if ``like`` holds images.
    """
    return value.repeat_interleave(like.shape[2], 0) if like.dim() == 5 else value


def frames_outermost(x: Tensor) -> Tensor:
    """Return clips (batch, channels, frames, height, width) with the frames outermost in memory, copied if need be."""
    if x.is_contiguous(memory_format=torch.channels_last_3d):
        return x
    return x.transpose(1, 2).contiguous().transpose(1, 2)
