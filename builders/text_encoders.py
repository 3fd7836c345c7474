"""Outside text encoders, frozen: captions to the token states that an entry's text input reads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from specs.graph import TextInput

__all__ = ["EMBEDDED", "INSTALL", "CaptionEncoder", "TextEncoderError", "check_width", "is_empty", "open_text_encoder"]

#: Name of the encoder that needs no download.
EMBEDDED = "embedded"
INSTALL = "pip install 'matryoshka-zoo[text]'"


class TextEncoderError(ValueError):
    """A text encoder cannot be used; the message says why and what to do."""


class CaptionEncoder(Protocol):
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


def open_text_encoder(
    name_or_path: str, text: TextInput, device: torch.device | str = "cpu", *, precision: str = "auto"
) -> CaptionEncoder:
    """Open the encoder of an entry's text.

    Args:
        name_or_path: "embedded" for the static table in the package wordllama; a folder that ``zoo data encode``
            wrote, whose states are looked up by caption; a folder with a T5 encoder and its tokenizer; or the name of
            a T5 on the Hugging Face hub, such as ``google/flan-t5-xl``, the paper's.
        text: the entry's text input: how many tokens, and how wide.
        device: where to run a T5, and where states come out.
        precision: of a T5: "float32", "bfloat16", or "auto", which is bfloat16 on a GPU that has it.

    Raises:
        TextEncoderError: there is no such encoder, it cannot be read, or its width is not that of ``text``.
    """
    if name_or_path == EMBEDDED:
        from builders.embedded_text import EmbeddedText

        return EmbeddedText.open(text, device)
    from builders.encoded_text import FACTS, EncodedText

    if (Path(name_or_path) / FACTS).is_file():
        return EncodedText.open(name_or_path, text, device)
    from builders.t5_text import T5Text

    return T5Text.open(name_or_path, text, device, precision)


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
