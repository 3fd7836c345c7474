"""Conditions: text and classes, which the innermost level declares, and the context that every level reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from builders.blocks.attention import masked_attention, split_heads
from builders.blocks.initialization import zero
from specs.graph import TextInput
from specs.html_table import html_table

__all__ = ["ClassEmbedding", "Context", "TextConditioner", "TokenAttention"]


@dataclass(frozen=True, repr=False)
class Context:
    """Everything a model computes from its conditions, once per prompt: tensors with one row per sample.

    A context is a pytree of torch, so that ``torch.export`` and ``torch.func`` take it as an argument.

    Attributes:
        levels: For each level's label, the outputs of its encoder, which are inputs of its denoiser.
    """

    levels: Mapping[str, tuple[Tensor, ...]]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return next(iter(self.levels.values()))[0].shape[0]

    def map(self, function: Callable[[Tensor], Tensor]) -> Context:
        """Apply a function to every tensor."""
        return Context({label: tuple(function(value) for value in values) for label, values in self.levels.items()})

    def to(self, *args: object, **kwargs: object) -> Context:
        """Convert to another device or precision, as ``Tensor.to``."""
        return self.map(lambda value: value.to(*args, **kwargs))  # type: ignore[call-overload]

    def __getitem__(self, rows: slice | Tensor | list[int]) -> Context:
        """Select rows."""
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

    def __repr__(self) -> str:
        levels = ", ".join(f"{label} {len(values)}" for label, values in self.levels.items())
        return f"<Context: rows {self.rows}, tensors by level: {levels}>"

    def _repr_html_(self) -> str:
        rows = [
            (label, ", ".join(str(tuple(value.shape)) for value in values), str(values[0].dtype), str(values[0].device))
            for label, values in self.levels.items()
        ]
        return html_table(f"Context of {self.rows} rows", ("level", "shapes", "dtype", "device"), rows)

    @staticmethod
    def cat(contexts: list[Context]) -> Context:
        """Concatenate the rows of several contexts, as for classifier-free guidance.

        Raises:
            ValueError: There is no context, or the prompts have different numbers of tokens; pad them to one length
                first.
        """
        if not contexts:
            raise ValueError("there is no context to concatenate")
        first = contexts[0].levels
        for context in contexts[1:]:
            for label, values in first.items():
                if any(a.shape[1:] != b.shape[1:] for a, b in zip(values, context.levels[label], strict=True)):
                    raise ValueError("the prompts have different lengths; pad them to one length before encoding")
        return Context(
            {
                label: tuple(torch.cat(parts) for parts in zip(*(c.levels[label] for c in contexts), strict=True))
                for label in first
            }
        )


def _flatten(context: Context) -> tuple[list[Any], list[str]]:
    return list(context.levels.values()), list(context.levels)


def _flatten_with_keys(context: Context) -> tuple[list[tuple[Any, Any]], list[str]]:
    return [(pytree.MappingKey(label), values) for label, values in context.levels.items()], list(context.levels)


def _unflatten(values: Iterable[Any], labels: list[str]) -> Context:
    return Context(dict(zip(labels, values, strict=True)))


pytree.register_pytree_node(
    Context,
    _flatten,
    _unflatten,
    serialized_type_name="builders.networks.conditioning.Context",
    flatten_with_keys_fn=_flatten_with_keys,
)


class TokenAttention(nn.Module):
    """Self-attention over text tokens: LayerNorm and 8 heads, then LayerNorm and a 4x GELU MLP, both residual."""

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
        """Apply the layer.

        Args:
            x: Tokens (batch, tokens, width).
            mask: Token mask (batch, 1, 1, tokens), 1 for a token and 0 for padding. None for no mask.

        Returns:
            Tokens in the shape of ``x``.
        """
        queries, keys, values = split_heads(self.queries_keys_values(self.norm1(x)), self.heads)
        h = masked_attention(queries, keys, values, mask)  # (batch, heads, tokens, width / heads)
        x = x + self.out(h.transpose(1, 2).flatten(2))
        return x + self.narrow(self.activation(self.widen(self.norm2(x))))


class TextConditioner(nn.Module):
    """The text input of the innermost level: projection, token self-attention, and the pooled embedding.

    Args:
        text: Description of the text input.
        time_width: Width E of the time embedding.
    """

    def __init__(self, text: TextInput, time_width: int) -> None:
        super().__init__()
        self.mask_attention = text.mask_attention
        width = text.inner_width
        self.project = nn.Linear(text.width, width) if text.project else nn.Identity()
        self.layers = nn.ModuleList(TokenAttention(width) for _ in range(text.self_attention))
        #: Whether padding counts in the mean; unmasked self-attention has mixed it with the tokens.
        self.plain_mean = text.self_attention > 0 and not text.mask_attention
        self.pool = nn.Linear(width, time_width, bias=False) if text.pool else None

    def forward(self, text: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode text.

        Args:
            text: Token states (batch, tokens, width) of the text encoder.
            mask: Token mask (batch, tokens), 1 for a token and 0 for padding.

        Returns:
            Tokens (batch, tokens, D) for attention, and an embedding (batch, E) to add to each level's time
            embedding; (batch, 1) zeros without pooling.
        """
        tokens = self.project(text)
        for layer in self.layers:
            tokens = layer(tokens, mask[:, None, None, :] if self.mask_attention else None)
        if self.pool is None:
            return tokens, tokens.new_zeros(tokens.shape[0], 1)
        weights = torch.ones_like(mask) if self.plain_mean else mask
        weights = weights[:, :, None].float()
        # Clamped, so that a row without tokens is 0 instead of 0 / 0.
        mean = (weights * tokens.float()).sum(1) / weights.sum(1).clamp(min=1e-6)
        return tokens, self.pool(mean.to(tokens.dtype))


class ClassEmbedding(nn.Module):
    """Embedding of N classes, and of "no class" as row N.

    Args:
        classes: Number of classes N.
        time_width: Width E of the embedding.
    """

    def __init__(self, classes: int, time_width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes + 1, time_width)

    def forward(self, classes: Tensor) -> Tensor:
        """Map class indices (batch,) in 0..N to (batch, E)."""
        return self.embedding(classes)
