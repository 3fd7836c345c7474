"""Outside text encoders, frozen: captions to the token states that an entry's text input reads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from specs.graph import TextInput

__all__ = ["EMBEDDED", "INSTALL", "TextEncoder", "TextEncoderError", "check_width", "is_empty"]

#: Name of the encoder that needs no download.
EMBEDDED = "embedded"
INSTALL = "pip install 'matryoshka-zoo[text]'"


class TextEncoderError(ValueError):
    """A text encoder cannot be used; the message says why and what to do."""


class TextEncoder(Protocol):
    """A frozen text encoder.

    Attributes:
        name: what it was opened by.
        width: of a token's state.
        tokens: that every caption is cut or padded to.
        fingerprint: a hash of its weights, its tokenizer and its precision: where it is equal, states are.
        precision: in which states are computed, and can be kept without loss.
    """

    name: str
    width: int
    tokens: int
    fingerprint: str
    precision: torch.dtype

    def __call__(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """States (batch, tokens, width) float32, zero at padding, and the mask (batch, tokens), True for a token.

        An empty caption has no token, which is what a model that drops its text learns as "no text".
        """
        ...


def check_width(name: str, width: int, text: TextInput) -> None:
    """Raise unless an encoder gives states as wide as an entry reads.

    Raises:
        TextEncoderError: with both widths.
    """
    if width != text.width:
        raise TextEncoderError(
            f"the text encoder {name!r} gives states of width {width}, but the entry reads text of width {text.width} "
            "(text.width in its inputs): take another encoder, or an entry with that width"
        )


def is_empty(caption: str) -> bool:
    """Whether a caption says nothing."""
    return not caption.strip()


def fingerprint(*parts: bytes) -> str:
    """SHA-256 of parts that are told apart."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()
