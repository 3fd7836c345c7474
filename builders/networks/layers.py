"""The parts of a level that are not blocks: stem, head, nest, and the branch-free modules its graph calls."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from builders.blocks.initialization import zero

__all__ = ["AddFeatures", "CutRows", "Head", "Nest", "NormalizeInput", "TokenMask", "pad_rows"]

Predictions = tuple[Tensor, ...]


class NormalizeInput(nn.Module):
    """Divide each noisy image by its own standard deviation over channels and pixels (unbiased)."""

    def forward(self, z: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to the same shape."""
        return (z / z.float().std((1, 2, 3), keepdim=True)).to(z.dtype)


class AddFeatures(nn.Module):
    """Join what the outer level hands in to the level's stem."""

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """Add two tensors of (batch, channels, height, width)."""
        return x + features


class CutRows(nn.Module):
    """Keep the rows a level has: in a mixed-resolution batch the high-resolution rows come first."""

    def forward(self, value: Tensor, z: Tensor) -> Tensor:
        """The first rows of ``value``, as many as ``z`` has."""
        return value[: z.shape[0]]


class TokenMask(nn.Module):
    """The mask of text tokens in the shape attention takes."""

    def forward(self, mask: Tensor) -> Tensor:
        """Map (batch, tokens) to (batch, 1, 1, tokens)."""
        return mask[:, None, None, :]


class Nest(nn.Module):
    """A level inside another: features go in and come back through zero-initialised 3x3 convolutions.

    Args:
        width: channels of the outer level where it nests.
        inner_in: first width of the inner level.
        inner_out: width of the inner level's feature map.
    """

    def __init__(self, width: int, inner_in: int, inner_out: int) -> None:
        super().__init__()
        self.enter = zero(nn.Conv2d(width, inner_in, 3, padding=1))
        self.leave = zero(nn.Conv2d(inner_out, width, 3, padding=1))

    def forward(self, x: Tensor, inner: Callable[[Tensor], tuple[Predictions, Tensor]]) -> tuple[Predictions, Tensor]:
        """Run ``inner`` on what ``x`` gives it; return its predictions and ``x`` plus its features."""
        predictions, features = inner(self.enter(x))
        return predictions, x + self.leave(features[: x.shape[0]])


class Head(nn.Module):
    """GroupNorm, SiLU, zero-initialised 3x3: from the feature map to the prediction."""

    def __init__(self, groups: int, width: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width)
        self.conv = zero(nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, width, height, width) to (batch, channels, height, width)."""
        return self.conv(functional.silu(self.norm(x)))


def pad_rows(x: Tensor, rows: int) -> Tensor:
    """Append rows of zeros up to ``rows``."""
    return functional.pad(x, (0,) * (2 * (x.dim() - 1)) + (0, rows - x.shape[0]))
