"""Attention over pixels and, with the same queries, over text tokens."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from builders.blocks.frames import as_clips, as_rows, for_frames
from builders.blocks.initialization import zero
from specs.blocks.attention import AttentionArguments

__all__ = ["Attention", "TextKeysValues", "masked_attention", "split_heads"]


class TextKeysValues(nn.Module):
    """Keys and values of the text tokens: LayerNorm, then one Linear to keys and values."""

    def __init__(self, text_width: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(text_width)
        self.keys_values = nn.Linear(text_width, 2 * width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (batch, tokens, text_width) to contiguous (batch, 2, heads, tokens, width / heads)."""
        both = self.keys_values(self.norm(tokens)).unflatten(2, (2, self.heads, -1))
        return both.permute(0, 2, 3, 1, 4).contiguous()


class FeedForward(nn.Module):
    """GroupNorm, Linear to four times the channels, exact GELU, zero-initialized Linear."""

    def __init__(self, groups: int, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width)
        self.widen = nn.Linear(width, 4 * width)
        self.activation = nn.GELU()
        self.narrow = zero(nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, pixels) to the same shape."""
        return self.narrow(self.activation(self.widen(self.norm(x).transpose(1, 2)))).transpose(1, 2)


class Attention(nn.Module):
    """Module of the block ``specs.blocks.attention``.

    The 1x1 convolutions of the paper are Linear layers on (batch, pixels, channels). This avoids transposes around
    ``scaled_dot_product_attention``, which is fastest on contiguous inputs.

    Args:
        args: Arguments of the node.
        in_channels: Channels of the input, equal to ``width``.
        width: Channels of the output.
        text_width: Width of the text tokens. None for no attention to text.
    """

    def __init__(self, args: AttentionArguments, in_channels: int, width: int, *, text_width: int | None) -> None:
        super().__init__()
        self.heads = args.heads
        self.norm = nn.GroupNorm(args.groups, width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        if text_width is not None:
            #: Called by the level's graph as a separate node, because it depends only on the prompt.
            self.text = TextKeysValues(text_width, width, args.heads)
        self.out = zero(nn.Linear(width, width))
        self.feed_forward = FeedForward(args.groups, width) if args.feed_forward else None

    def forward(self, x: Tensor, text: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Attend over pixels and text.

        Args:
            x: Features (batch, channels, [frames,] height, width). The pixels of a frame attend to those of that frame.
            text: Keys and values (batch, 2, heads, tokens, channels / heads) from ``TextKeysValues``, the same for all
                frames of a clip.
            mask: Token mask (batch, 1, 1, tokens), 1 for a token and 0 for padding. A row without tokens gets
                nothing from the text.

        Returns:
            Features in the shape of ``x``.
        """
        rows = as_rows(x)
        text = None if text is None else for_frames(text, x)
        mask = None if mask is None else for_frames(mask, x)
        pixels = rows.flatten(2)  # (rows, channels, pixels)
        pixels = pixels + self._attend(pixels, text, mask)
        if self.feed_forward is not None:
            pixels = pixels + self.feed_forward(pixels)
        return as_clips(pixels.reshape(rows.shape), x)

    def _attend(self, pixels: Tensor, text: Tensor | None, mask: Tensor | None) -> Tensor:
        # A separate function, so that queries, keys and values are freed before the feed-forward.
        normed = self.norm(pixels).transpose(1, 2)  # (batch, pixels, channels)
        queries, keys, values = split_heads(self.queries_keys_values(normed), self.heads)
        h = scaled_dot_product_attention(queries, keys, values)  # (batch, heads, pixels, channels / heads)
        if text is not None:
            text_keys, text_values = text.unbind(1)  # each (batch, heads, tokens, channels / heads)
            h = h + masked_attention(queries, text_keys, text_values, mask)
        return self.out(h.transpose(1, 2).flatten(2)).transpose(1, 2)  # (batch, channels, pixels)


def split_heads(joined: Tensor, heads: int) -> tuple[Tensor, ...]:
    """Split (batch, items, 3 * channels) into queries, keys and values (batch, heads, items, channels / heads)."""
    return joined.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4).contiguous().unbind(0)


def masked_attention(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Attend to tokens, of which some are padding.

    Args:
        queries: Queries (batch, heads, items, channels / heads).
        keys: Keys (batch, heads, tokens, channels / heads).
        values: Values in the shape of ``keys``.
        mask: Token mask (batch, 1, 1, tokens), 1 for a token and 0 for padding. None for no padding.

    Returns:
        Result in the shape of ``queries``; zero for a row without tokens.
    """
    if mask is None:
        return scaled_dot_product_attention(queries, keys, values)
    # A large negative but finite bias keeps a row without tokens finite; the factor then makes it zero.
    bias = (1 - mask.to(queries.dtype)) * (-1e4)
    return scaled_dot_product_attention(queries, keys, values, attn_mask=bias) * mask.amax(-1, keepdim=True)
