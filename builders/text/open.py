"""Opening a text encoder by name or path."""

from __future__ import annotations

from pathlib import Path

import torch

from builders.text.encoder import EMBEDDED, TextEncoder
from specs.graph import TextInput


def open_text_encoder(
    name_or_path: str, text: TextInput, device: torch.device | str = "cpu", *, precision: str = "auto"
) -> TextEncoder:
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
        from builders.text.embedded import EmbeddedText

        return EmbeddedText.open(text, device)
    from builders.text.cached import FACTS, EncodedText

    if (Path(name_or_path) / FACTS).is_file():
        return EncodedText.open(name_or_path, text, device)
    from builders.text.t5 import T5Text

    return T5Text.open(name_or_path, text, device, precision)
