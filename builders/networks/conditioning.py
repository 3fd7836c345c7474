"""What the innermost level declares and every level uses: text, classes, and the context they are encoded to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from builders.blocks.initialization import zero
from specs.graph import TextInput

__all__ = ["ClassEmbedding", "Context", "TextConditioner", "TokenAttention"]


@dataclass(frozen=True)
class Context:
    """Everything a model computes from its conditions, once per prompt: tensors with one row a sample.

    ``levels`` maps a level's label to the values its graph hands from the static to the dynamic part.
    """

    levels: Mapping[str, tuple[Tensor, ...]]

    @property
    def rows(self) -> int:
        """Number of samples."""
        return next(iter(self.levels.values()))[0].shape[0]

    def map(self, function: Callable[[Tensor], Tensor]) -> Context:
        """The context with ``function`` applied to every tensor."""
        return Context({label: tuple(function(value) for value in values) for label, values in self.levels.items()})

    def to(self, *args: object, **kwargs: object) -> Context:
        """The context on another device or in another precision, as ``Tensor.to``."""
        return self.map(lambda value: value.to(*args, **kwargs))  # type: ignore[call-overload]

    def __getitem__(self, rows: slice | Tensor | list[int]) -> Context:
        """The context of some of the samples."""
        return self.map(lambda value: value[rows])

    def expand(self, rows: int) -> Context:
        """Return the context with ``rows`` rows: itself, or its only row repeated without copying.

        Raises:
            ValueError: It has another number of rows.
        """
        if self.rows == rows:
            return self
        if self.rows != 1:
            raise ValueError(f"the context has {self.rows} rows; {rows} are needed, or 1 for all samples")
        return self.map(lambda value: value.expand(rows, *value.shape[1:]))

    @staticmethod
    def cat(contexts: list[Context]) -> Context:
        """The contexts of several batches as one, in order (for classifier-free guidance).

        Raises:
            ValueError: their prompts have different numbers of tokens; pad them to one length first.
        """
        first = contexts[0].levels
        for context in contexts[1:]:
            for label, values in first.items():
                if any(a.shape[1:] != b.shape[1:] for a, b in zip(values, context.levels[label], strict=True)):
                    raise ValueError("prompts of different lengths: encode them with text padded to one length")
        return Context(
            {
                label: tuple(torch.cat(parts) for parts in zip(*(c.levels[label] for c in contexts), strict=True))
                for label in first
            }
        )


class TokenAttention(nn.Module):
    """Self-attention over text tokens: LayerNorm, 8 heads, then LayerNorm and a 4x GELU MLP, both residual."""

    def __init__(self, width: int, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = zero(nn.Linear(width, width))
        self.norm2 = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.activation = nn.GELU()
        self.narrow = zero(nn.Linear(4 * width, width))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map ``x`` (batch, tokens, width); ``mask`` (batch, 1, 1, tokens) holds 1 for a token, 0 for padding."""
        joined = self.queries_keys_values(self.norm1(x)).unflatten(2, (3, self.heads, -1))
        queries, keys, values = joined.permute(2, 0, 3, 1, 4).contiguous().unbind(0)
        bias = None if mask is None else (1 - mask.to(queries.dtype)) * (-1e4)
        h = scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
        if mask is not None:
            h = h * mask.amax(-1, keepdim=True).to(h.dtype)
        x = x + self.out(h.transpose(1, 2).flatten(2))
        return x + self.narrow(self.activation(self.widen(self.norm2(x))))


class TextConditioner(nn.Module):
    """The innermost level's text input: projection, token self-attention, and the pooled embedding.

    Returns the tokens that attention reads, (batch, tokens, D), and what joins every level's time embedding,
    (batch, E).
    """

    def __init__(self, text: TextInput, time_width: int) -> None:
        super().__init__()
        self.mask_attention = text.mask_attention
        width = text.inner_width
        self.project = nn.Linear(text.width, width) if text.project else nn.Identity()
        self.layers = nn.ModuleList(TokenAttention(width) for _ in range(text.self_attention))
        #: With unmasked token self-attention, padding has mixed with the tokens and the mean is a plain one.
        self.plain_mean = text.self_attention > 0 and not text.mask_attention
        self.pool = nn.Linear(width, time_width, bias=False) if text.pool else None

    def forward(self, text: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``text`` (batch, tokens, width) and ``mask`` (batch, tokens)."""
        tokens = self.project(text)
        for layer in self.layers:
            tokens = layer(tokens, mask[:, None, None, :] if self.mask_attention else None)
        if self.pool is None:
            return tokens, tokens.new_zeros(tokens.shape[0], 1)
        weights = torch.ones_like(mask) if self.plain_mean else mask
        weights = weights[:, :, None].float()
        # clamp: a row without tokens is zero, not 0 / 0
        mean = (weights * tokens.float()).sum(1) / weights.sum(1).clamp(min=1e-6)
        return tokens, self.pool(mean.to(tokens.dtype))


class ClassEmbedding(nn.Module):
    """An embedding of N classes and, as row N, of "none"."""

    def __init__(self, classes: int, time_width: int) -> None:
        super().__init__()
        self.none = classes
        self.embedding = nn.Embedding(classes + 1, time_width)

    def forward(self, classes: Tensor) -> Tensor:
        """Map class indices (batch,) in 0..N to (batch, E)."""
        return self.embedding(classes)
