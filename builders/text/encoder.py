"""The interface of text encoders: from captions to the token states that an entry's text input reads."""

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
#: How to install the packages of text encoders.
INSTALL = "pip install 'matryoshka-zoo[text]'"


class TextEncoderError(ValueError):
    """A text encoder cannot be used; the message says why and what to do."""


class TextEncoder(Protocol):
    """A frozen text encoder.

    Attributes:
        name: Name or path that it was opened by.
        width: Width of the states.
        tokens: Number of tokens that captions are cut or padded to.
        fingerprint: Hash of weights, tokenizer and precision; equal fingerprints mean equal states.
        precision: Precision in which states are computed, and can be stored without loss.
    """

    name: str
    width: int
    tokens: int
    fingerprint: str
    precision: torch.dtype

    def __call__(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return states (batch, tokens, width) float32, zero at padding, and the mask (batch, tokens), True at tokens.

        An empty caption has no tokens. This is the "no text" condition that a model learns when its text is dropped.
        """
        ...


def check_width(name: str, width: int, text: TextInput) -> None:
    """Check that the states of an encoder have the width that an entry reads.

    Raises:
        TextEncoderError: The widths differ.
    """
    if width != text.width:
        raise TextEncoderError(
            f"the text encoder {name!r} has states of width {width}, but the entry reads text of width {text.width} "
            "(text.width in its inputs): use another encoder, or an entry of that width"
        )


def is_empty(caption: str) -> bool:
    """Return whether a caption is empty or only whitespace."""
    return not caption.strip()


def fingerprint(*parts: bytes) -> str:
    """Return the SHA-256 of several parts and their lengths."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()
