"""Attention over the frames of clips, with rotary positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import scaled_dot_product_attention

from builders.blocks.frames import as_clips, as_rows, frames_outermost
from builders.blocks.initialization import zero
from specs.blocks.temporal_attention import TemporalAttentionArguments

__all__ = ["TemporalAttention", "attend", "rotate"]

#: Sequences that one call of the attention kernels of CUDA takes at most; more are an invalid launch.
MOST_SEQUENCES = 65_535


class TemporalAttention(nn.Module):
    """Module of the block ``specs.blocks.temporal_attention``.

    Every place of the grid is a sequence of frames: u += out(softmax(R(q) R(k)' / sqrt(d)) v), where (q, k, v) are
    contiguous thirds of qkv(LayerNorm(u)); u += narrow(gelu(widen(LayerNorm(u)))). With a factor, u is a 3x3
    convolution of x with that stride, and y = x + conv(repeat(u)); else u = x and y = u. ``out``, ``narrow`` and the
    last convolution are zero at first, so that the block starts as the identity.

    Args:
        args: Arguments of the node.
        in_channels: Channels of the input, equal to ``width``.
        width: Channels of the output.
    """

    def __init__(self, args: TemporalAttentionArguments, in_channels: int, width: int) -> None:
        super().__init__()
        self.heads, self.factor = args.heads, args.factor
        self.rotary, self.feed_forward = args.positions == "rotary", args.feed_forward
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = zero(nn.Linear(width, width))
        if args.feed_forward:
            self.norm2 = nn.LayerNorm(width)
            self.widen = nn.Linear(width, 4 * width)
            self.narrow = zero(nn.Linear(4 * width, width))
        if args.factor > 1:
            self.down = nn.Conv2d(in_channels, width, 3, stride=args.factor, padding=1)
            self.up = zero(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, frames, height, width) to the same shape, with the frames outermost in memory."""
        if self.factor == 1:
            return self._over_frames(x)
        grid = self._over_frames(as_clips(self.down(as_rows(x)), x))
        repeated = functional.interpolate(as_rows(grid), scale_factor=self.factor, mode="nearest")
        return frames_outermost(x + as_clips(self.up(repeated), x))

    def _over_frames(self, x: Tensor) -> Tensor:
        places = x.permute(0, 3, 4, 2, 1)  # (batch, height, width, frames, channels)
        u = places.flatten(0, 2)  # (places, frames, channels)
        u = u + self._attend(u)
        if self.feed_forward:
            u = u + self.narrow(functional.gelu(self.widen(self.norm2(u))))
        return frames_outermost(u.reshape(places.shape).permute(0, 4, 3, 1, 2))

    def _attend(self, u: Tensor) -> Tensor:
        # A separate function, so that queries, keys and values are freed before the feed-forward.
        joined = self.qkv(self.norm(u)).unflatten(2, (3, self.heads, -1))
        queries, keys, values = joined.unbind(2)  # each (places, frames, heads, channels / heads)
        if self.rotary:
            # The values are copied so that autograd does not save the queries and keys before rotation with them.
            queries, keys, values = rotate(queries), rotate(keys), values.contiguous()
        return self.out(attend(queries, keys, values).flatten(2))


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attend over the items of sequences, as many as there are.

    Args:
        queries: Queries (sequences, items, heads, d).
        keys: Keys in the same shape.
        values: Values in the same shape.

    Returns:
        Result in the same shape.
    """
    parts = []
    for part in zip(*(each.split(MOST_SEQUENCES) for each in (queries, keys, values)), strict=True):
        parts.append(scaled_dot_product_attention(*(each.transpose(1, 2) for each in part)).transpose(1, 2))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def rotate(x: Tensor) -> Tensor:
    """Turn pairs of channels by the number of their frame (rotary positions, arXiv 2104.09864).

    Channels (2i, 2i + 1) of frame t turn by the angle t 10000^(-2i / d).

    Args:
        x: Queries or keys (sequences, frames, heads, d), d even.

    Returns:
        Tensor in the shape of ``x``, contiguous.
    """
    frames, width = x.shape[1], x.shape[3]
    rates = 10000 ** -(torch.arange(0, width, 2, device=x.device, dtype=torch.float32) / width)
    angles = torch.outer(torch.arange(frames, device=x.device, dtype=torch.float32), rates).unsqueeze(1)
    turns = torch.polar(torch.ones_like(angles), angles)  # (frames, 1, d / 2)
    # A product of complex numbers reads each pair once; in real numbers it takes four products, of every second number.
    pairs = torch.view_as_complex(x.to(torch.promote_types(x.dtype, torch.float32)).unflatten(3, (-1, 2)))
    return torch.view_as_real(pairs * turns).flatten(3).to(x.dtype)
