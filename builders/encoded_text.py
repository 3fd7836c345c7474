"""Text states kept in shards: encoded once by ``zoo data encode``, looked up by caption ever after.

A folder of them holds ``text_states.json`` (the encoder, its fingerprint, and which data) and one safetensors file a
shard of the data, with the members ``captions`` (N,) int64, sorted hashes; ``offsets`` (N + 1,) int64; ``states``
(tokens of all captions, width) in the encoder's own precision, padding left out; and ``checks`` (N,) int64, hashes of
each caption's states, for a file is too large to be read whole before it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from builders.broken import Broken
from builders.checkpoint import CheckpointError, read_tensors, write_tensors
from builders.dataset_card import find_dataset
from builders.shard_index import index_shard
from builders.shards import DataError, HostileShardError
from builders.text_encoders import CaptionEncoder, TextEncoderError, check_width, is_empty
from specs.graph import TextInput

__all__ = ["FACTS", "Encoded", "EncodedText", "encode_dataset"]

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


@dataclass(frozen=True, slots=True)
class Encoded:
    """What an encoding made: shards encoded now, shards that were there, and captions of all of them."""

    shards: int
    kept: int
    captions: int


def encode_dataset(
    data: str | Path,
    folder: str | Path,
    encoder: CaptionEncoder,
    *,
    progress: Callable[[float, int], object] = lambda done, total: None,
) -> Encoded:
    """Encode the captions of a dataset into a folder; shards that are there already are left as they are.

    Broken samples and shards are passed over with a warning that names them, as long as they are few.

    Args:
        data: as for :func:`builders.data.open_dataset`, one set.
        folder: to write to.
        encoder: of the captions.
        progress: told how many shards are done, with the part of the present one, and how many there are.

    Raises:
        TextEncoderError: the folder holds the states of another encoder or of other data, there are no captions, or
            states cannot be written.
        OSError: the folder cannot be made.
        builders.shards.DataError: the data cannot be read, or too much of it is broken.
    """
    if isinstance(encoder, EncodedText):
        raise TextEncoderError(f"{encoder.folder}: holds states of {encoder.facts.data}, not an encoder of captions")
    folder = Path(folder)
    card, by_split = find_dataset(data)
    shards = [path for paths in by_split.values() for path in paths]
    names = tuple(_name(path) for path in shards)
    if len(set(names)) < len(names):
        raise TextEncoderError(f"{data}: two of its shards have one name; their states would have one file")
    precision = str(encoder.precision).removeprefix("torch.")
    facts = Facts(encoder.name, encoder.fingerprint, encoder.width, encoder.tokens, precision, card.name, names)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / FACTS).exists():
        _refuse_others(folder, Facts.read(folder), facts)
    facts.write(folder)
    broken = Broken(card.name, len(shards))
    kept = captions = samples = 0
    progress(0, len(shards))
    for number, (shard, name) in enumerate(zip(shards, names, strict=True)):
        found = _kept(folder / name, encoder, _source(shard))
        kept += found is not None
        if found is None:
            found = _encode_shard(shard, folder / name, encoder, broken, partial(_part, progress, number, len(shards)))
        captions, samples = captions + found.captions, samples + found.samples
        for message in found.broken:
            broken.add_sample(DataError(message))
        progress(number + 1, len(shards))
    broken.check(samples)
    if not captions:
        raise TextEncoderError(
            f"{card.name}: none of its {samples:,} samples has a caption; there is nothing to encode"
        )
    Facts(**{**asdict(facts), "complete": True}).write(folder)
    return Encoded(len(shards) - kept, kept, captions)


def _part(progress: Callable[[float, int], object], number: int, total: int, part: float) -> None:
    progress(number + part, total)


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


@dataclass(frozen=True, slots=True)
class _Shard:
    """What a file of states says of the shard it was made from."""

    captions: int
    samples: int
    #: Of samples that were passed over.
    broken: tuple[str, ...]


def _kept(path: Path, encoder: CaptionEncoder, source: str) -> _Shard | None:
    """What a file that is there holds; None if it must be made: damaged, of another encoder or of a changed shard."""
    try:
        tensors, metadata = read_tensors(path)
        made = (metadata.get("fingerprint"), metadata.get("tokens"), metadata.get("source"))
        if "checks" not in tensors:  # of an earlier version
            return None
        if not source or made != (encoder.fingerprint, str(encoder.tokens), source):
            return None
        return _Shard(len(tensors["captions"]), int(metadata["samples"]), tuple(json.loads(metadata["broken"])))
    except (CheckpointError, KeyError, ValueError):
        return None


def _encode_shard(
    shard: Path, path: Path, encoder: CaptionEncoder, broken: Broken, progress: Callable[[float], object]
) -> _Shard:
    """Write the states of a shard; of a broken one, those of the samples before the break."""
    source, samples, errors = _source(shard), 0, []
    found = set()
    try:
        for member in index_shard(shard, lambda error: errors.append(str(error))):
            samples += 1
            found.add(member.caption)
    except HostileShardError:
        raise
    except DataError as error:
        broken.add_shard(error)
        source = ""  # to be tried again
    # Each caption once, in the order of their hashes.
    captions = sorted((caption for caption in found if not is_empty(caption)), key=_hash)
    facts = {"kind": "text-states", "fingerprint": encoder.fingerprint, "tokens": str(encoder.tokens)}
    facts |= {"source": source, "samples": str(samples), "broken": json.dumps(errors)}
    states = _encode(captions, encoder, progress)
    try:
        write_tensors(path, states, facts)
    except CheckpointError as error:
        reason = getattr(error.__cause__, "strerror", None) or error
        raise TextEncoderError(f"{path}: states cannot be written ({reason}); the same command goes on") from None
    return _Shard(len(captions), samples, tuple(errors))


def _encode(captions: list[str], encoder: CaptionEncoder, progress: Callable[[float], object]) -> dict[str, Tensor]:
    parts, lengths = [], []
    for start in range(0, len(captions), CAPTIONS):
        states, mask = encoder(captions[start : start + CAPTIONS])
        parts.append(states[mask].to("cpu", encoder.precision))
        lengths.append(mask.sum(1).cpu())
        progress(min(1.0, (start + CAPTIONS) / len(captions)))
    counts = torch.cat([torch.zeros(1, dtype=torch.int64), *lengths])
    empty = torch.zeros(0, encoder.width, dtype=encoder.precision)
    states = torch.cat([empty, *parts])
    offsets = counts.cumsum(0)
    return {
        "captions": torch.tensor([_hash(caption) for caption in captions], dtype=torch.int64),
        "offsets": offsets,
        "states": states,
        "checks": torch.tensor([_check(states[a:b]) for a, b in pairwise(offsets.tolist())], dtype=torch.int64),
    }


def _hash(caption: str) -> int:
    return int.from_bytes(
        hashlib.blake2b(caption.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little", signed=True
    )
