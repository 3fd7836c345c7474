"""Opening a text encoder by name or path."""

from __future__ import annotations

import os

import torch

from builders.text.encoder import EMBEDDED, TextEncoder
from specs.graph import TextInput
from specs.user_paths import expanded as expand_home


def open_text_encoder(
    name_or_path: str | os.PathLike[str],
    text: TextInput,
    device: torch.device | str = "cpu",
    *,
    precision: str = "auto",
    fetch: bool = True,
) -> TextEncoder:
    """Open a text encoder for an entry.

    Args:
        name_or_path: "embedded" for the static table in the package wordllama; a folder written by ``zoo data encode``,
            in which states are looked up by caption; a folder with a T5 encoder and its tokenizer; or the name of a T5
            on the Hugging Face hub, such as ``google/flan-t5-xl``, which the paper uses.
        text: Text input of the entry: number of tokens and width.
        device: Device of a T5, and of the states that are returned.
        precision: Precision of a T5: "float32", "bfloat16", or "auto" (bfloat16 on a GPU that supports it).
        fetch: Whether a T5 may be downloaded; otherwise it must be in the cache of the hub.

    Raises:
        TextEncoderError: There is no such encoder, it cannot be read, or its width does not match ``text``.
    """
    if name_or_path == EMBEDDED:
        from builders.text.embedded import EmbeddedText

        return EmbeddedText.open(text, device)
    from builders.text.cached import FACTS, EncodedText

    name_or_path = str(name_or_path)
    if os.path.isfile(expand_home(name_or_path) / FACTS):
        return EncodedText.open(expand_home(name_or_path), text, device)
    from builders.text.t5 import T5Text

    return T5Text.open(name_or_path, text, device, precision, fetch)
