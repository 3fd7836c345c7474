"""Blocks and embeddings of the plain network. Parameters have the names of those of the zoo."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Attend", "Attention", "Embedding", "Resnet", "TextLayer", "Up", "einsum_attention", "fused_attention"]

#: Function of queries (batch, heads, d, items), keys and values (batch, heads, d, tokens) and a mask (batch, tokens) or
#: None, to (batch, heads, d, items).
Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


def einsum_attention(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Attend with the matrix of all scores in memory."""
    scale = queries.shape[2] ** -0.25
    scores = torch.einsum("bhdi,bhdj->bhij", queries * scale, keys * scale)
    if mask is not None:
        scores = scores + (1 - mask.to(scores.dtype))[:, None, None, :] * -1e4
    weights = torch.softmax(scores.float(), dim=-1).to(values.dtype)
    result = torch.einsum("bhij,bhdj->bhdi", weights, values)
    return result if mask is None else result * mask.to(result.dtype).amax(-1)[:, None, None, None]


def fused_attention(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Attend with the fused kernel of PyTorch, which keeps no scores."""
    ordered = [each.transpose(2, 3).contiguous() for each in (queries, keys, values)]
    bias = None if mask is None else (1 - mask.to(queries.dtype))[:, None, None, :] * -1e4
    result = functional.scaled_dot_product_attention(*ordered, attn_mask=bias).transpose(2, 3)
    return result if mask is None else result * mask.to(result.dtype).amax(-1)[:, None, None, None]


def waves(values: Tensor, count: int) -> Tensor:
    """Return sines and cosines (batch, count) of numbers (batch,)."""
    frequencies = torch.exp(-math.log(10000) * torch.arange(count // 2, device=values.device) / (count // 2))
    angles = values[:, None].float() * frequencies[None]
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)


class Embedding(nn.Module):
    """Two linear layers on sinusoids of a number."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width // 4, width)
        self.linear2 = nn.Linear(width, width)

    def forward(self, values: Tensor) -> Tensor:
        """Map (batch,) to (batch, width)."""
        return self.linear2(functional.silu(self.linear1(waves(values, self.linear1.in_features))))


class Resnet(nn.Module):
    """Residual block, scaled and shifted by the time embedding."""

    def __init__(self, in_channels: int, width: int, time_width: int, groups: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1)
        self.time = nn.Linear(time_width, 2 * width)
        self.norm2 = nn.GroupNorm(groups, width)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]
        self.shortcut = nn.Conv2d(in_channels, width, 1) if in_channels != width else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Map (batch, in_channels, height, width) and (batch, E) to (batch, channels, height, width)."""
        h = self.conv1(functional.silu(self.norm1(x)))
        scale, shift = self.time(functional.silu(time))[:, :, None, None].chunk(2, dim=1)
        h = self.norm2(h) * (1 + scale) + shift
        return self.shortcut(x) + self.conv2(self.dropout(functional.silu(h)))


class TextProjection(nn.Module):
    """Keys and values of text tokens."""

    def __init__(self, text_width: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(text_width)
        self.keys_values = nn.Linear(text_width, 2 * width)


class FeedForward(nn.Module):
    """GroupNorm and two 1x1 convolutions."""

    def __init__(self, groups: int, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width)
        self.widen = nn.Conv1d(width, 4 * width, 1)
        self.narrow = nn.Conv1d(4 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, pixels) to the same shape."""
        return self.narrow(functional.gelu(self.widen(self.norm(x))))


class Attention(nn.Module):
    """Attention over pixels, plus attention over text tokens with the same queries."""

    def __init__(
        self, width: int, heads: int, groups: int, text_width: int | None, feed_forward: bool, attend: Attend
    ) -> None:
        super().__init__()
        self.heads, self.attend = heads, attend
        self.norm = nn.GroupNorm(groups, width)
        self.queries_keys_values = nn.Conv1d(width, 3 * width, 1)
        if text_width is not None:
            self.text = TextProjection(text_width, width)
        self.out = nn.Conv1d(width, width, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]
        if feed_forward:
            self.feed_forward = FeedForward(groups, width)

    def forward(self, x: Tensor, tokens: Tensor | None, mask: Tensor | None) -> Tensor:
        """Map (batch, channels, height, width), tokens (batch, tokens, D) and their mask to the shape of ``x``."""
        pixels = x.flatten(2)
        queries, keys, values = self._split(self.queries_keys_values(self.norm(pixels)), 3)
        h = self.attend(queries, keys, values, None)
        if tokens is not None:
            both = self.text.keys_values(self.text.norm(tokens)).transpose(1, 2)
            text_keys, text_values = self._split(both, 2)
            h = h + self.attend(queries, text_keys, text_values, mask)
        pixels = pixels + self.out(h.flatten(1, 2))
        if hasattr(self, "feed_forward"):
            pixels = pixels + self.feed_forward(pixels)
        return pixels.reshape(x.shape)

    def _split(self, joined: Tensor, count: int) -> list[Tensor]:
        """Split (batch, count * channels, items) into ``count`` tensors (batch, heads, d, items)."""
        return [each.unflatten(1, (self.heads, -1)) for each in joined.chunk(count, dim=1)]


class Up(nn.Module):
    """Nearest-neighbor upsampling and a convolution."""

    def __init__(self, in_channels: int, width: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.conv = nn.Conv2d(in_channels, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, height, width) to (batch, channels, height * factor, width * factor)."""
        return self.conv(functional.interpolate(x, scale_factor=self.factor, mode="nearest"))


class TextLayer(nn.Module):
    """Self-attention over text tokens with an MLP."""

    def __init__(self, width: int, attend: Attend, heads: int = 8) -> None:
        super().__init__()
        self.heads, self.attend = heads, attend
        self.norm1 = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map tokens (batch, tokens, width) and their mask (batch, tokens) to the shape of ``x``."""
        joined = self.queries_keys_values(self.norm1(x)).transpose(1, 2)
        parts = [each.unflatten(1, (self.heads, -1)) for each in joined.chunk(3, dim=1)]
        x = x + self.out(self.attend(*parts, mask).flatten(1, 2).transpose(1, 2))
        return x + self.narrow(functional.gelu(self.widen(self.norm2(x))))
