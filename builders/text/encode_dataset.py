"""Encoding the captions of a dataset once, into a folder that training looks states up in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from builders.checkpoints.tensor_file import CheckpointError, read_tensors, write_tensors
from builders.data.dataset_card import find_dataset
from builders.data.error_budget import ErrorBudget
from builders.data.errors import DataError, HostileShardError
from builders.data.shard_index import index_shard
from builders.text.cached import CAPTIONS, FACTS, EncodedText, Facts, _check, _hash, _name
from builders.text.encoder import TextEncoder, TextEncoderError, is_empty


@dataclass(frozen=True, slots=True)
class Encoded:
    """What an encoding made: shards encoded now, shards that were there, and captions of all of them."""

    shards: int
    kept: int
    captions: int


def encode_dataset(
    data: str | Path,
    folder: str | Path,
    encoder: TextEncoder,
    *,
    progress: Callable[[float, int], object] = lambda done, total: None,
) -> Encoded:
    """Encode the captions of a dataset into a folder; shards that are there already are left as they are.

    Broken samples and shards are passed over with a warning that names them, as long as they are few.

    Args:
        data: as for :func:`builders.data.open.open_dataset`, one set.
        folder: to write to.
        encoder: of the captions.
        progress: told how many shards are done, with the part of the present one, and how many there are.

    Raises:
        TextEncoderError: the folder holds the states of another encoder or of other data, there are no captions, or
            states cannot be written.
        OSError: the folder cannot be made.
        builders.data.errors.DataError: the data cannot be read, or too much of it is broken.
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
    broken = ErrorBudget(card.name, len(shards))
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


def _kept(path: Path, encoder: TextEncoder, source: str) -> _Shard | None:
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
    shard: Path, path: Path, encoder: TextEncoder, broken: ErrorBudget, progress: Callable[[float], object]
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


def _encode(captions: list[str], encoder: TextEncoder, progress: Callable[[float], object]) -> dict[str, Tensor]:
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
