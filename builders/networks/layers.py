"""Layers of a level that are not blocks: stem of clips, head, nest, and small modules that its graph calls.

All treat the frames of a clip (batch, channels, frames, height, width) as images of their own.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from builders.blocks.frames import as_clips, as_rows, cat_clips
from builders.blocks.initialization import zero

__all__ = ["AddFeatures", "ClipStem", "CutRows", "Head", "Nest", "NormalizeInput", "TokenMask", "pad_rows"]

Predictions = tuple[Tensor, ...]


class NormalizeInput(nn.Module):
    """Divide each noisy image, or each frame, by its standard deviation over channels and pixels (unbiased)."""

    def forward(self, z: Tensor) -> Tensor:
        """Map (batch, channels, height, width) or (batch, channels, frames, height, width) to the same shape."""
        if z.shape[0] == 0:
            return z  # without rows, there is no deviation
        rows = as_rows(z)
        return as_clips((rows / rows.float().std((1, 2, 3), keepdim=True)).to(z.dtype), z)


class ClipStem(nn.Conv2d):
    """The stem of a level of clips: a convolution of each frame."""

    def forward(self, z: Tensor) -> Tensor:
        """Map (batch, channels, frames, height, width) to (batch, features, frames, height, width)."""
        return as_clips(super().forward(as_rows(z)), z)


class AddFeatures(nn.Module):
    """Add the features from the outer level to the stem."""

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """Add two tensors of the same shape, of images or clips."""
        return x + features


class CatClips(nn.Module):
    """Join clips along the channels. A module, because fx traces functions when it unpickles a level."""

    def forward(self, *clips: Tensor) -> Tensor:
        """Map several (batch, channels, frames, height, width) to one with all channels."""
        return cat_clips(clips)


class CutRows(nn.Module):
    """Select the rows of a level; in a mixed-resolution batch, high-resolution rows come first."""

    def forward(self, value: Tensor, z: Tensor) -> Tensor:
        """Return the first rows of ``value``, as many as ``z`` has."""
        return value[: z.shape[0]]


class TokenMask(nn.Module):
    """Reshape the mask of text tokens for attention."""

    def forward(self, mask: Tensor) -> Tensor:
        """Map (batch, tokens) to (batch, 1, 1, tokens)."""
        return mask[:, None, None, :]


class Nest(nn.Module):
    """A level inside another: features enter and leave through zero-initialized 3x3 convolutions of each frame.

    The one frame of a clip that enters a level of images does so without its axis, and leaves with it.

    Args:
        width: Channels of the outer level at the nest.
        inner_in: Channels of the inner level's stem.
        inner_out: Channels of the inner level's feature map.
        images: Whether the inner level has images.
    """

    def __init__(self, width: int, inner_in: int, inner_out: int, *, images: bool = True) -> None:
        super().__init__()
        self.images = images
        self.enter = zero(nn.Conv2d(width, inner_in, 3, padding=1))
        self.leave = zero(nn.Conv2d(inner_out, width, 3, padding=1))

    def forward(self, x: Tensor, inner: Callable[[Tensor], tuple[Predictions, Tensor]]) -> tuple[Predictions, Tensor]:
        """Run the inner level on features.

        Args:
            x: Features of images (rows, channels, height, width), or clips (rows, channels, frames, height, width).
            inner: Function from features to the inner level's predictions and features, which may have more rows.

        Returns:
            Predictions of the inner level and those inside it, and ``x`` plus its features.
        """
        entering = self.enter(as_rows(x))
        predictions, features = inner(entering if self.images else as_clips(entering, x))
        return predictions, x + as_clips(self.leave(as_rows(features[: x.shape[0]])), x)


class Head(nn.Module):
    """GroupNorm, SiLU, zero-initialized 3x3 convolution, from the feature map to the prediction."""

    def __init__(self, groups: int, width: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width)
        self.conv = zero(nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Map features (batch, features, height, width), or of clips with an axis of frames, to v of that form."""
        return as_clips(self.conv(functional.silu(self.norm(as_rows(x)))), x)


def pad_rows(x: Tensor, rows: int) -> Tensor:
    """Append rows of zeros to ``x`` (batch, ...), up to ``rows``; the frames of clips stay outermost in memory."""
    clips = x.dim() == 5
    ordered = x.transpose(1, 2) if clips else x
    padded = functional.pad(ordered, (0,) * (2 * (x.dim() - 1)) + (0, rows - x.shape[0]))
    return padded.transpose(1, 2) if clips else padded
