"""Text states kept in shards: encoded once by ``zoo data encode``, looked up by caption ever after.

A folder of them holds ``text_states.json`` (the encoder, its fingerprint, and which data) and one safetensors file a
shard of the data, with the members ``captions`` (N,) int64, sorted hashes; ``offsets`` (N + 1,) int64; ``states``
(tokens of all captions, width) in the encoder's own precision, padding left out; and ``checks`` (N,) int64, hashes of
each caption's states, for a file is too large to be read whole before it is used.
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

from builders.files import write_text
from builders.text.encoder import TextEncoderError, check_width, is_empty
from specs.graph import TextInput

__all__ = ["FACTS", "EncodedText"]

FACTS = "text_states.json"
#: Captions encoded at once.
CAPTIONS = 256
_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a folder of text states says of itself."""

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
        """The facts of a folder.

        Raises:
            TextEncoderError: they cannot be read.
        """
        try:
            found = json.loads((folder / FACTS).read_text("utf-8"))
            return Facts(**{**found, "shards": tuple(found["shards"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise TextEncoderError(f"{folder / FACTS}: cannot be read ({error}); encode anew") from None

    def write(self, folder: Path) -> None:
        """Write them whole or not at all."""
        write_text(folder / FACTS, json.dumps(asdict(self), indent=2) + "\n")


class EncodedText:
    """States that were kept; see :class:`builders.text.encoder.TextEncoder`.

    Files stay on disk and are mapped; a look-up reads what it returns.
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
            folder: that ``encode_dataset`` wrote.
            text: the entry's text input.
            device: where states come out.
            fingerprint: of the encoder whose states they must be, if that is known.

        Raises:
            TextEncoderError: the folder is unfinished or broken, or its states are of another encoder, width or number
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
                "encode the data for it"
            )
        if fingerprint is not None and fingerprint != facts.fingerprint:
            raise TextEncoderError(
                f"{folder}: states of {facts.encoder!r} ({facts.fingerprint[:12]}), but those of the encoder "
                f"{fingerprint[:12]} are wanted; encode the data with that one"
            )
        return cls(folder, facts, device)

    def _open(self) -> None:
        from safetensors import SafetensorError, safe_open

        hashes, files = [], []
        for number, name in enumerate(self.facts.shards):
            try:
                file = safe_open(self.folder / name, framework="pt")
                if (file.metadata() or {}).get("fingerprint") != self.fingerprint:
                    raise TextEncoderError(f"{self.folder / name}: states of another encoder; encode the data anew")
                known, checks = file.get_tensor("captions"), file.get_tensor("checks")
            except (OSError, SafetensorError) as error:
                raise TextEncoderError(
                    f"{self.folder / name}: missing or damaged ({error}); run zoo data encode again"
                ) from None
            self._files.append((file.get_tensor("offsets"), file.get_slice("states"), checks))
            hashes.append(known)
            files.append(torch.stack([torch.full_like(known, number), torch.arange(len(known))], 1))
        joined, places = torch.cat(hashes), torch.cat(files)
        self._hashes, order = joined.sort(stable=True)
        self._places = places[order]

    def __getstate__(self) -> dict[str, Any]:
        # Mapped files stay in the process that opened them.
        return {"folder": self.folder, "facts": self.facts, "device": self.device}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"], state["facts"], state["device"])  # type: ignore[misc]

    def __call__(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """States (batch, tokens, width) float32 and the mask (batch, tokens) bool.

        Raises:
            TextEncoderError: a caption that was not encoded.
        """
        states = torch.zeros(len(captions), self.tokens, self.width)
        mask = torch.zeros(len(captions), self.tokens, dtype=torch.bool)
        at, wanted = self._find(captions)
        for row, caption in enumerate(captions):
            if is_empty(caption):
                continue
            if len(self._hashes) == 0 or self._hashes[at[row]] != wanted[row]:
                raise TextEncoderError(
                    f"{self.folder}: no states for the caption {caption[:80]!r}: it is not in {self.facts.data}; "
                    f"give the encoder itself ({self.facts.encoder})"
                )
            found = self._read(*self._places[at[row]].tolist())
            states[row, : len(found)] = found.float()
            mask[row, : len(found)] = True
        return states.to(self.device), mask.to(self.device)

    def missing(self, captions: Iterable[str]) -> str | None:
        """The first caption that was not encoded, if there is one."""
        said = (caption for caption in captions if not is_empty(caption))
        while part := list(islice(said, 4096)):
            at, wanted = self._find(part)
            absent = (self._hashes[at] != wanted).nonzero() if len(self._hashes) else torch.zeros(1, 1)
            if len(absent):
                return part[int(absent[0])]
        return None

    def _find(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Where captions stand, if they are there, and their hashes."""
        wanted = torch.tensor([_hash(caption) for caption in captions], dtype=torch.int64)
        return torch.searchsorted(self._hashes, wanted).clamp(max=max(len(self._hashes) - 1, 0)), wanted

    def _read(self, number: int, place: int) -> Tensor:
        offsets, kept, checks = self._files[number]
        start, end = offsets[place : place + 2].tolist()
        found = kept[start:end] if 0 <= start <= end <= min(start + self.tokens, kept.get_shape()[0]) else None
        if found is None or _check(found) != checks[place]:
            raise TextEncoderError(
                f"{self.folder / self.facts.shards[number]}: damaged: states do not have the hash they were written "
                "with; run zoo data encode again"
            )
        return found


def _check(states: Tensor) -> int:
    """A hash of one caption's states."""
    content = states.contiguous().view(torch.uint8).numpy().tobytes()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=True)


def _name(shard: Path) -> str:
    return f"{shard.name.partition('.tar')[0].removesuffix('.tgz')}.safetensors"


def _hash(caption: str) -> int:
    return int.from_bytes(
        hashlib.blake2b(caption.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little", signed=True
    )
