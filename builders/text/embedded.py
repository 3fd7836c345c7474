"""The text encoder that needs no download: a static table of token embeddings from the package wordllama.

The package (MIT) has 32,000 embeddings of width 256, distilled from the token embeddings of large language models
(https://github.com/dleemiller/WordLlama), and their tokenizer. A state depends only on its token, not on the context;
captions are lower-cased. Only these two files are read; the package itself is not imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from builders.text.encoder import EMBEDDED, INSTALL, TextEncoderError, check_width, fingerprint
from builders.transfers import to_device
from specs.graph import TextInput

__all__ = ["EmbeddedText"]

TABLE = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"


class EmbeddedText:
    """A :class:`builders.text.encoder.TextEncoder` that looks token embeddings up.

    Args:
        table: Embeddings (vocabulary, width) float16.
        tokenizer: Tokenizer of the package ``tokenizers``.
        digest: Hash of both.
        tokens: Number of tokens that captions are cut or padded to.
        device: Device of the states that are returned.
    """

    name = EMBEDDED
    precision = torch.float16

    def __init__(self, table: Tensor, tokenizer: Any, digest: str, tokens: int, device: torch.device | str) -> None:
        self.table, self.tokenizer, self.fingerprint = table, tokenizer, digest
        self.tokens, self.width, self.device = tokens, table.shape[1], torch.device(device)

    @classmethod
    def open(cls, text: TextInput, device: torch.device | str = "cpu") -> EmbeddedText:
        """Load the table and the tokenizer.

        Args:
            text: Text input of the entry.
            device: Device of the states that are returned.

        Raises:
            TextEncoderError: The package is missing or damaged, or the entry reads text of another width.
        """
        table_path, tokenizer_path = _file(TABLE), _file(TOKENIZER)
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise TextEncoderError(f"the embedded text encoder needs the package tokenizers: {INSTALL}") from None
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            content, description = table_path.read_bytes(), tokenizer_path.read_bytes()
            table = load(content)["embedding.weight"]
            tokenizer = Tokenizer.from_str(description.decode())
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise TextEncoderError(
                f"{table_path.parent.parent}: the embedded text encoder cannot be read ({error}); "
                "reinstall the package wordllama"
            ) from None
        tokenizer.no_padding()
        tokenizer.no_truncation()
        check_width(EMBEDDED, table.shape[1], text)
        return cls(table, tokenizer, fingerprint(content, description, b"lower case"), text.tokens, device)

    def __call__(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return states (batch, tokens, width) float32 and the mask (batch, tokens) bool."""
        ids = torch.zeros(len(captions), self.tokens, dtype=torch.int64)
        mask = torch.zeros(len(captions), self.tokens, dtype=torch.bool)
        # Lower-cased, because "Apple" has an embedding of its own. Without the start token, which would be the only
        # token of an empty caption.
        lowered = [caption.strip().lower() for caption in captions]
        for row, encoding in enumerate(self.tokenizer.encode_batch(lowered, add_special_tokens=False)):
            found = encoding.ids[: self.tokens]
            ids[row, : len(found)] = torch.tensor(found, dtype=torch.int64)
            mask[row, : len(found)] = True
        states = self.table[ids].float() * mask[:, :, None]
        return to_device(states, self.device), to_device(mask, self.device)


def _file(name: str) -> Path:
    """Return the path of a file of the package wordllama."""
    package = find_spec("wordllama")
    folders = list(package.submodule_search_locations or ()) if package is not None else []
    found = next((path for folder in folders if (path := Path(folder) / name).is_file()), None)
    if found is None:
        which = f"wordllama with its {name}" if folders else "wordllama"
        raise TextEncoderError(f"the embedded text encoder needs the package {which}: {INSTALL}")
    return found
