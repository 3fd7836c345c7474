"""The text encoder that needs no download: a static table of token embeddings from the package wordllama.

The package (MIT) holds 32,000 embeddings of width 256, distilled from the token embeddings of large language models
(https://github.com/dleemiller/WordLlama), and their tokenizer. A state depends on its token alone, not on its
neighbours; captions are read in small letters. Only the two files are read; the package itself is not imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from builders.text.encoder import EMBEDDED, INSTALL, TextEncoderError, check_width, fingerprint
from specs.graph import TextInput

__all__ = ["EmbeddedText"]

TABLE = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"


class EmbeddedText:
    """Token embeddings by look-up; see :class:`builders.text.encoder.TextEncoder`.

    Args:
        table: (tokens known, width) float16.
        tokenizer: of the package ``tokenizers``.
        digest: of both.
        tokens: that a caption is cut or padded to.
        device: where states come out.
    """

    name = EMBEDDED
    precision = torch.float16

    def __init__(self, table: Tensor, tokenizer: Any, digest: str, tokens: int, device: torch.device | str) -> None:
        self.table, self.tokenizer, self.fingerprint = table, tokenizer, digest
        self.tokens, self.width, self.device = tokens, table.shape[1], torch.device(device)

    @classmethod
    def open(cls, text: TextInput, device: torch.device | str = "cpu") -> EmbeddedText:
        """Read table and tokenizer.

        Raises:
            TextEncoderError: the package is missing or damaged, or the entry's text has another width.
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
        """States (batch, tokens, width) float32 and the mask (batch, tokens) bool."""
        ids = torch.zeros(len(captions), self.tokens, dtype=torch.int64)
        mask = torch.zeros(len(captions), self.tokens, dtype=torch.bool)
        # In small letters: a table knows no more of "Apple" than its own row. Without the sign for the start of a text,
        # which would be all that an empty caption has.
        lowered = [caption.strip().lower() for caption in captions]
        for row, encoding in enumerate(self.tokenizer.encode_batch(lowered, add_special_tokens=False)):
            found = encoding.ids[: self.tokens]
            ids[row, : len(found)] = torch.tensor(found, dtype=torch.int64)
            mask[row, : len(found)] = True
        states = self.table[ids].float() * mask[:, :, None]
        return states.to(self.device), mask.to(self.device)


def _file(name: str) -> Path:
    package = find_spec("wordllama")
    folders = list(package.submodule_search_locations or ()) if package is not None else []
    for folder in folders:
        path = Path(folder) / name
        if path.is_file():
            return path
    raise TextEncoderError(
        f"the embedded text encoder needs the package wordllama {'with its ' + name if folders else ''}: {INSTALL}"
    )
