"""Attention over pixels and, with the same queries, over text."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from builders.blocks.initialization import zero
from specs.blocks.attention import AttentionArguments

__all__ = ["Attention", "TextKeysValues"]


class TextKeysValues(nn.Module):
    """Keys and values of the text tokens: LayerNorm, then one Linear to (keys, values)."""

    def __init__(self, text_width: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(text_width)
        self.keys_values = nn.Linear(text_width, 2 * width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (batch, tokens, text_width) to (batch, 2, heads, tokens, width / heads), contiguous."""
        both = self.keys_values(self.norm(tokens)).unflatten(2, (2, self.heads, -1))
        return both.permute(0, 2, 3, 1, 4).contiguous()


class FeedForward(nn.Module):
    """GroupNorm, Linear to four times the channels, exact GELU, zero-initialised Linear."""

    def __init__(self, groups: int, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width)
        self.widen = nn.Linear(width, 4 * width)
        self.activation = nn.GELU()
        self.narrow = zero(nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, width, pixels) to the same shape."""
        return self.narrow(self.activation(self.widen(self.norm(x).transpose(1, 2)))).transpose(1, 2)


class Attention(nn.Module):
    """The torch side of ``specs.blocks.attention``.

    Its 1x1 convolutions are Linear layers on (batch, pixels, channels), which spares the transposes around
    ``scaled_dot_product_attention`` and gives it the contiguous layout it is fast on.

    Args:
        args: the node's arguments.
        in_channels: channels of the input, equal to ``width``.
        width: channels of the output.
        text_width: width of the text tokens, or None where no text is attended to.
    """

    def __init__(self, args: AttentionArguments, in_channels: int, width: int, *, text_width: int | None) -> None:
        super().__init__()
        self.heads = args.heads
        self.norm = nn.GroupNorm(args.groups, width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        if text_width is not None:
            #: Called by the level's graph as a node of its own, since it depends on the prompt alone.
            self.text = TextKeysValues(text_width, width, args.heads)
        self.out = zero(nn.Linear(width, width))
        self.feed_forward = FeedForward(args.groups, width) if args.feed_forward else None

    def forward(self, x: Tensor, text: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Map ``x`` (batch, width, height, width).

        Args:
            x: the features.
            text: keys and values of ``TextKeysValues``.
            mask: (batch, 1, 1, tokens) floats, 1 for a token to attend to and 0 for one to pass over. A row
                without tokens gets nothing from the text.
        """
        shape = x.shape
        pixels = x.flatten(2)
        joined = self.queries_keys_values(self.norm(pixels).transpose(1, 2)).unflatten(2, (3, self.heads, -1))
        queries, keys, values = joined.permute(2, 0, 3, 1, 4).contiguous().unbind(0)
        h = scaled_dot_product_attention(queries, keys, values)
        if text is not None:
            h = h + self._attend(queries, text, mask)
        pixels = pixels + self.out(h.transpose(1, 2).flatten(2)).transpose(1, 2)
        if self.feed_forward is not None:
            pixels = pixels + self.feed_forward(pixels)
        return pixels.reshape(shape)

    @staticmethod
    def _attend(queries: Tensor, text: Tensor, mask: Tensor | None) -> Tensor:
        keys, values = text.unbind(1)
        if mask is None:
            return scaled_dot_product_attention(queries, keys, values)
        # A very low but finite bias keeps a row without tokens finite; the factor then makes it zero.
        bias = (1 - mask.to(queries.dtype)) * (-1e4)
        return scaled_dot_product_attention(queries, keys, values, attn_mask=bias) * mask.amax(-1, keepdim=True)
