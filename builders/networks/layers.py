"""Layers of a level that are not blocks: head, nest, and small modules without branches that its graph calls."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from builders.blocks.initialization import zero

__all__ = ["AddFeatures", "CutRows", "Head", "Nest", "NormalizeInput", "TokenMask", "pad_rows"]

Predictions = tuple[Tensor, ...]


class NormalizeInput(nn.Module):
    """Divide each noisy image by its standard deviation over channels and pixels (unbiased)."""

    def forward(self, z: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to the same shape."""
        return (z / z.float().std((1, 2, 3), keepdim=True)).to(z.dtype)


class AddFeatures(nn.Module):
    """Add the features from the outer level to the stem."""

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """Add two tensors of (batch, channels, height, width)."""
        return x + features


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
    """A level inside another: features enter and leave through zero-initialized 3x3 convolutions.

    Args:
        width: Channels of the outer level at the nest.
        inner_in: Channels of the inner level's stem.
        inner_out: Channels of the inner level's feature map.
    """

    def __init__(self, width: int, inner_in: int, inner_out: int) -> None:
        super().__init__()
        self.enter = zero(nn.Conv2d(width, inner_in, 3, padding=1))
        self.leave = zero(nn.Conv2d(inner_out, width, 3, padding=1))

    def forward(self, x: Tensor, inner: Callable[[Tensor], tuple[Predictions, Tensor]]) -> tuple[Predictions, Tensor]:
        """Run the inner level on features ``x``; return its predictions, and ``x`` plus its features."""
        predictions, features = inner(self.enter(x))
        return predictions, x + self.leave(features[: x.shape[0]])


class Head(nn.Module):
    """GroupNorm, SiLU, zero-initialized 3x3 convolution, from the feature map to the prediction."""

    def __init__(self, groups: int, width: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width)
        self.conv = zero(nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Map the feature map (batch, features, height, width) to v (batch, channels, height, width)."""
        return self.conv(functional.silu(self.norm(x)))


def pad_rows(x: Tensor, rows: int) -> Tensor:
    """Append rows of zeros to ``x`` (batch, ...), up to ``rows``."""
    return functional.pad(x, (0,) * (2 * (x.dim() - 1)) + (0, rows - x.shape[0]))
