"""Text states kept in shards: encoded once by ``zoo data encode``, looked up by caption ever after.

A folder of them holds ``text_states.json`` (the encoder, its fingerprint, and which data) and one safetensors file a
shard of the data, with the members ``captions`` (N,) int64, sorted hashes; ``offsets`` (N + 1,) int64; and ``states``
(tokens of all captions, width) in the encoder's own precision, padding left out.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from builders.checkpoint import CheckpointError, read_tensors, write_tensors
from builders.dataset_card import find_dataset, sample_facts
from builders.shards import read_shard
from builders.text_encoders import CaptionEncoder, TextEncoderError, check_width, is_empty
from specs.graph import TextInput

__all__ = ["FACTS", "EncodedText", "encode_dataset"]

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
        temporary = folder / f".{FACTS}.{os.getpid()}.tmp"
        temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", "utf-8")
        os.replace(temporary, folder / FACTS)


def encode_dataset(
    data: str | Path,
    folder: str | Path,
    encoder: CaptionEncoder,
    *,
    progress: Callable[[str, int], object] = lambda shard, captions: None,
) -> tuple[int, int]:
    """Encode the captions of a dataset into a folder; shards that are there already are left as they are.

    Args:
        data: name of a packaged dataset, or path of a folder with shards or of a shard.
        folder: to write to.
        encoder: of the captions.
        progress: told of a shard's name and how many captions have been encoded since the last call.

    Returns:
        How many shards were encoded, and how many were there.

    Raises:
        TextEncoderError: the folder holds the states of another encoder or of other data.
        builders.shards.DataError: the data cannot be read.
    """
    folder = Path(folder)
    card, by_split = find_dataset(data)
    shards = [path for paths in by_split.values() for path in paths]
    names = tuple(_name(path) for path in shards)
    if len(set(names)) < len(names):
        raise TextEncoderError(f"{data}: two of its shards have one name")
    precision = str(encoder.precision).removeprefix("torch.")
    facts = Facts(encoder.name, encoder.fingerprint, encoder.width, encoder.tokens, precision, card.name, names)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / FACTS).exists():
        _refuse_others(folder, Facts.read(folder), facts)
    facts.write(folder)
    done = 0
    for shard, name in zip(shards, names, strict=True):
        source = _source(shard)
        if not _is_done(folder / name, encoder, source):
            captions = _captions(shard)
            tensors = _encode(captions, encoder, partial(progress, name))
            metadata = {"kind": "text-states", "fingerprint": encoder.fingerprint, "source": source}
            write_tensors(folder / name, tensors, metadata | {"tokens": str(encoder.tokens)})
            done += 1
    Facts(**{**asdict(facts), "complete": True}).write(folder)
    return done, len(shards) - done


class EncodedText:
    """States that were kept; see :class:`builders.text_encoders.CaptionEncoder`.

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
                known = file.get_tensor("captions")
            except (OSError, SafetensorError) as error:
                raise TextEncoderError(
                    f"{self.folder / name}: missing or damaged ({error}); run zoo data encode again"
                ) from None
            self._files.append((file, file.get_tensor("offsets"), file.get_slice("states")))
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
        wanted = torch.tensor([_hash(caption) for caption in captions], dtype=torch.int64)
        at = torch.searchsorted(self._hashes, wanted).clamp(max=max(len(self._hashes) - 1, 0))
        for row, caption in enumerate(captions):
            if is_empty(caption):
                continue
            if len(self._hashes) == 0 or self._hashes[at[row]] != wanted[row]:
                raise TextEncoderError(
                    f"{self.folder}: no states for the caption {caption[:80]!r}: it is not in {self.facts.data}; "
                    f"give the encoder itself ({self.facts.encoder})"
                )
            number, place = self._places[at[row]].tolist()
            _, offsets, kept = self._files[number]
            start, end = offsets[place : place + 2].tolist()
            states[row, : end - start] = kept[start:end].float()
            mask[row, : end - start] = True
        return states.to(self.device), mask.to(self.device)


def _name(shard: Path) -> str:
    return f"{shard.name.partition('.tar')[0].removesuffix('.tgz')}.safetensors"


def _refuse_others(folder: Path, found: Facts, wanted: Facts) -> None:
    for what in ("fingerprint", "tokens", "data"):
        before, now = getattr(found, what), getattr(wanted, what)
        if before != now:
            before, now = (value[:12] if what == "fingerprint" else value for value in (before, now))
            raise TextEncoderError(
                f"{folder}: holds the states of {found.data} by {found.encoder!r}; its {what} is {before}, not {now}: "
                "choose another folder"
            )


def _source(shard: Path) -> str:
    """A hash of a shard, by which a changed one is noticed."""
    digest = hashlib.sha256()
    try:
        with shard.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    except OSError:
        return ""  # reading it for its samples will say what is wrong
    return digest.hexdigest()


def _is_done(path: Path, encoder: CaptionEncoder, source: str) -> bool:
    try:
        _, metadata = read_tensors(path)
    except CheckpointError:
        return False
    wanted = (encoder.fingerprint, str(encoder.tokens), source)
    return (metadata.get("fingerprint"), metadata.get("tokens"), metadata.get("source")) == wanted


def _captions(shard: Path) -> list[str]:
    """The captions of a shard, each once, in the order of their hashes; without empty ones."""
    found = {sample_facts(sample)["caption"] for sample in read_shard(shard)}
    return sorted((caption for caption in found if not is_empty(caption)), key=_hash)


def _encode(captions: list[str], encoder: CaptionEncoder, progress: Callable[[int], object]) -> dict[str, Tensor]:
    parts, lengths = [], []
    for part in _chunks(captions):
        states, mask = encoder(part)
        parts.append(states[mask].to("cpu", encoder.precision))
        lengths.append(mask.sum(1).cpu())
        progress(len(part))
    counts = torch.cat([torch.zeros(1, dtype=torch.int64), *lengths])
    empty = torch.zeros(0, encoder.width, dtype=encoder.precision)
    return {
        "captions": torch.tensor([_hash(caption) for caption in captions], dtype=torch.int64),
        "offsets": counts.cumsum(0),
        "states": torch.cat([empty, *parts]),
    }


def _chunks(captions: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(captions), CAPTIONS):
        yield captions[start : start + CAPTIONS]


def _hash(caption: str) -> int:
    return int.from_bytes(hashlib.blake2b(caption.encode(), digest_size=8).digest(), "little", signed=True)
