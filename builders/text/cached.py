"""Cached text states: encoded once by ``zoo data encode``, then looked up by caption.

A folder of states has a ``text_states.json`` (:class:`Facts`) and one safetensors file per shard of the data, with

- ``captions`` (N,) int64: sorted hashes of the captions,
- ``offsets`` (N + 1,) int64: where the states of each caption begin and end,
- ``states`` (tokens of all captions, width), in the encoder's precision and without padding,
- ``checks`` (N,) int64: hashes of each caption's states, because a file may be too large to check as a whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from builders.files import read_json, write_text
from builders.text.encoder import TextEncoderError, check_width, is_empty
from builders.transfers import to_device
from specs.graph import TextInput

__all__ = ["FACTS", "EncodedText", "Facts", "caption_hash", "states_hash"]

FACTS = "text_states.json"
_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class Facts:
    """The description of a folder of states.

    Attributes:
        encoder: Name of the encoder.
        fingerprint: Fingerprint of the encoder.
        width: Width of the states.
        tokens: Number of tokens that captions were cut to.
        precision: Precision of the states.
        data: Name of the dataset.
        shards: File names, one per shard of the data.
        complete: Whether all shards are encoded.
    """

    encoder: str
    fingerprint: str
    width: int
    tokens: int
    precision: str
    data: str
    shards: tuple[str, ...]
    complete: bool = False

    @staticmethod
    def read(folder: Path) -> Facts:
        """Read the description of a folder.

        Raises:
            TextEncoderError: The file is missing or damaged.
        """
        try:
            found = read_json(folder / FACTS)
            return Facts(**{**found, "shards": tuple(found["shards"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise TextEncoderError(f"{folder / FACTS}: cannot be read ({error}); encode the data again") from None

    def write(self, folder: Path) -> None:
        """Write the description to a folder."""
        write_text(folder / FACTS, json.dumps(asdict(self), indent=2) + "\n")


class EncodedText:
    """A :class:`builders.text.encoder.TextEncoder` that looks states up in a folder.

    Files are memory-mapped; a look-up reads only the states it returns.

    Args:
        folder: Folder of states.
        facts: Description of the folder.
        device: Device of the states that are returned.
    """

    def __init__(self, folder: Path, facts: Facts, device: torch.device | str) -> None:
        self.folder, self.facts, self.device = folder, facts, torch.device(device)
        self.name, self.fingerprint = facts.encoder, facts.fingerprint
        self.width, self.tokens, self.precision = facts.width, facts.tokens, _PRECISIONS[facts.precision]
        self._files: list[Any] = []
        self._open()

    @classmethod
    def open(
        cls, folder: str | Path, text: TextInput, device: torch.device | str = "cpu", *, fingerprint: str | None = None
    ) -> EncodedText:
        """Open a folder of states.

        Args:
            folder: Folder written by :func:`builders.text.encode_dataset.encode_dataset`.
            text: Text input of the entry.
            device: Device of the states that are returned.
            fingerprint: Fingerprint that the encoder of the states must have. Default: any.

        Raises:
            TextEncoderError: The folder is unfinished or damaged, or its states have another encoder, width or number
                of tokens.
        """
        folder = Path(folder)
        facts = Facts.read(folder)
        if not facts.complete:
            raise TextEncoderError(f"{folder}: the encoding of {facts.data} is not finished; run zoo data encode again")
        check_width(str(folder), facts.width, text)
        if facts.tokens != text.tokens:
            raise TextEncoderError(
                f"{folder}: captions of {facts.tokens} tokens, but the entry reads {text.tokens}; "
                "encode the data for this entry"
            )
        if fingerprint is not None and fingerprint != facts.fingerprint:
            raise TextEncoderError(
                f"{folder}: states of {facts.encoder!r} ({facts.fingerprint[:12]}), but those of the encoder "
                f"{fingerprint[:12]} are needed; encode the data with that encoder"
            )
        return cls(folder, facts, device)

    def _open(self) -> None:
        from safetensors import SafetensorError, safe_open

        hashes, places = [], []
        for number, name in enumerate(self.facts.shards):
            try:
                file = safe_open(self.folder / name, framework="pt")
                if (file.metadata() or {}).get("fingerprint") != self.fingerprint:
                    raise TextEncoderError(f"{self.folder / name}: states of another encoder; encode the data again")
                known, checks = file.get_tensor("captions"), file.get_tensor("checks")
            except (OSError, SafetensorError) as error:
                raise TextEncoderError(
                    f"{self.folder / name}: missing or damaged ({error}); run zoo data encode again"
                ) from None
            self._files.append((file.get_tensor("offsets"), file.get_slice("states"), checks))
            hashes.append(known)
            places.append(torch.stack([torch.full_like(known, number), torch.arange(len(known))], 1))
        self._hashes, order = torch.cat(hashes).sort(stable=True)
        #: Number of the file and row in it, for each hash.
        self._places = torch.cat(places)[order]

    def __reduce__(self) -> tuple[Any, ...]:
        # Memory-mapped files cannot be pickled; another process opens them again.
        return EncodedText, (self.folder, self.facts, self.device)

    def __call__(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return states (batch, tokens, width) float32 and the mask (batch, tokens) bool.

        Raises:
            TextEncoderError: A caption has no states.
        """
        states = torch.zeros(len(captions), self.tokens, self.width)
        mask = torch.zeros(len(captions), self.tokens, dtype=torch.bool)
        places, known = self._find(captions)
        for row, caption in enumerate(captions):
            if is_empty(caption):
                continue
            if not known[row]:
                raise TextEncoderError(
                    f"{self.folder}: no states for the caption {caption[:80]!r}, which is not in {self.facts.data}; "
                    f"use the encoder itself ({self.facts.encoder})"
                )
            found = self._read(*places[row].tolist())
            states[row, : len(found)] = found.float()
            mask[row, : len(found)] = True
        return to_device(states, self.device), to_device(mask, self.device)

    def missing(self, captions: Iterable[str]) -> str | None:
        """Return the first caption without states; None if there is none."""
        texts = (caption for caption in captions if not is_empty(caption))
        while part := list(islice(texts, 4096)):
            known = self._find(part)[1].tolist()
            if not all(known):
                return part[known.index(False)]
        return None

    def _find(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return file and row of the states of each caption (batch, 2), and whether it has states (batch,) bool."""
        hashes = torch.tensor([caption_hash(caption) for caption in captions], dtype=torch.int64)
        if not len(self._hashes):
            return torch.zeros(len(captions), 2, dtype=torch.int64), torch.zeros(len(captions), dtype=torch.bool)
        at = torch.searchsorted(self._hashes, hashes).clamp(max=len(self._hashes) - 1)
        return self._places[at], self._hashes[at] == hashes

    def _read(self, number: int, row: int) -> Tensor:
        """Return the states (tokens, width) of a caption, after checking their hash."""
        offsets, states, checks = self._files[number]
        start, end = offsets[row : row + 2].tolist()
        found = states[start:end] if 0 <= start <= end <= min(start + self.tokens, states.get_shape()[0]) else None
        if found is None or states_hash(found) != checks[row]:
            raise TextEncoderError(
                f"{self.folder / self.facts.shards[number]}: damaged: states do not match their hash; "
                "run zoo data encode again"
            )
        return found


def caption_hash(caption: str) -> int:
    """Return the hash of a caption, a signed 64-bit integer."""
    return _hash(caption.encode("utf-8", "surrogatepass"))


def states_hash(states: Tensor) -> int:
    """Return the hash of one caption's states, a signed 64-bit integer."""
    return _hash(states.contiguous().view(torch.uint8).numpy().tobytes())


def _hash(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=True)
