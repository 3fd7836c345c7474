"""Search for the training images or clips nearest to samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from builders.pixels import to_float

#: Number of training clips, those with the nearest first frames, whose frames are all compared with those of a sample.
CANDIDATES = 32
#: Largest number of images, of clips, and of bytes as float32, that are searched for the one nearest to a sample.
COMPARED, COMPARED_CLIPS, COMPARED_BYTES = 5000, 1000, 2**30


def most_compared(side: int, frames: int = 1) -> int:
    """Return how many images, or clips, are searched for the nearest one, which bounds memory and time.

    Args:
        side: Side in pixels.
        frames: Number of frames of a clip; 1 for images.
    """
    most = COMPARED if frames == 1 else COMPARED_CLIPS
    return max(1, min(most, COMPARED_BYTES // (12 * side**2 * frames)))


def nearest_images(samples: Tensor, images: Tensor, chunk: int = 1024) -> tuple[Tensor, Tensor]:
    """Find the nearest training image of each sample, by the distance of their pixels.

    Args:
        samples: Samples (samples, channels, height, width) in [-1, 1].
        images: Training images (images, channels, height, width), uint8 in 0..255 or float in [-1, 1].
        chunk: Number of images to compare at a time.

    Returns:
        Indices (samples,) into ``images``, and root mean squared distances (samples,) of pixels in [-1, 1].

    Raises:
        ValueError: The images have another shape than the samples.
    """
    if samples.shape[1:] != images.shape[1:]:
        raise ValueError(
            f"samples of shape {tuple(samples.shape[1:])} are not comparable to images of {tuple(images.shape[1:])}"
        )
    best, indices = _distances(samples, images, chunk).min(1)
    return indices, (best / samples[0].numel()).sqrt()


def _distances(samples: Tensor, images: Tensor, chunk: int = 1024) -> Tensor:
    """Return the squared distances (samples, images) of the pixels of samples and images."""
    flat = samples.detach().float().cpu().flatten(1)
    distances = []
    for part in images.split(chunk):
        values = part.cpu().float().flatten(1)
        values = to_float(values) if images.dtype == torch.uint8 else values
        squares = flat.square().sum(1)[:, None] + values.square().sum(1) - 2 * flat @ values.T
        distances.append(squares.clamp(min=0))
    return torch.cat(distances, 1)


def nearest_to_levels(levels: Sequence[Tensor], images: Tensor) -> Tensor:
    """Find the nearest training image or clip of each sample.

    Images are compared at the lowest resolution, where even a briefly trained model draws clear images. At the highest,
    remaining noise would decide. Clips are first compared by their first frames at the innermost level; among the
    nearest ones, all frames of the innermost level of clips decide.

    Args:
        levels: Samples (samples, channels, height, width), or clips (samples, channels, frames, height, width), in
            [-1, 1] by level, outermost first.
        images: Training images or clips, uint8, with sides, and frames, a multiple of those of each level.

    Returns:
        Indices (samples,) into ``images``.
    """
    innermost, clips = levels[-1], [level for level in levels if level.dim() == 5]
    if not clips:
        return nearest_images(innermost, _pooled(images, innermost))[0]
    first, still = images[:, :, 0], innermost if innermost.dim() == 4 else innermost[:, :, 0]
    distances = _distances(still, _pooled(first, still))
    candidates = distances.topk(min(CANDIDATES, len(images)), dim=1, largest=False).indices
    chosen = [
        rows[nearest_images(sample[None].flatten(1, 2), _frames_like(images[rows], sample))[0]]
        for sample, rows in zip(clips[-1], candidates, strict=True)
    ]
    return torch.cat(chosen)


def _frames_like(clips: Tensor, sample: Tensor) -> Tensor:
    """Return the frames that a level sees of training clips, at its side, as channels of images."""
    seen = clips[:, :, :: clips.shape[2] // sample.shape[1]]
    return _pooled(seen.flatten(1, 2), sample)


def _pooled(images: Tensor, like: Tensor) -> Tensor:
    """Return images (images, channels, height, width) uint8 as floats, averaged to the side of ``like``."""
    side = images.shape[-1] // like.shape[-1]
    return torch.cat([functional.avg_pool2d(to_float(part), side) for part in images.split(512)])
