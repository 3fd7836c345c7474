"""Encoding the captions of a dataset once, into a folder in which training looks states up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from builders.checkpoints.tensor_file import CheckpointError, read_tensors, write_tensors
from builders.data.dataset_card import find_dataset
from builders.data.error_budget import ErrorBudget
from builders.data.errors import DataError
from builders.data.shard_index import index_shard
from builders.files import open_regular
from builders.text.cached import FACTS, EncodedText, Facts, caption_hash, states_hash
from builders.text.encoder import TextEncoder, TextEncoderError, is_empty

__all__ = ["Encoded", "encode_dataset"]

#: Number of captions encoded at once.
CAPTIONS = 256


@dataclass(frozen=True, slots=True)
class Encoded:
    """The result of encoding a dataset.

    Attributes:
        shards: Number of shards encoded now.
        kept: Number of shards that were already encoded.
        captions: Number of captions in all shards.
    """

    shards: int
    kept: int
    captions: int


@dataclass(frozen=True, slots=True)
class _Shard:
    """An encoded shard: its number of captions and of samples, and the errors of skipped samples."""

    captions: int
    samples: int
    broken: tuple[str, ...]


def encode_dataset(
    data: str | Path,
    folder: str | Path,
    encoder: TextEncoder,
    *,
    progress: Callable[[float, int], object] = lambda done, total: None,
) -> Encoded:
    """Encode the captions of a dataset into a folder. Shards that are already encoded are reused.

    A few broken samples and shards are skipped with a warning that names them.

    Args:
        data: One dataset, as for :func:`builders.data.open.open_dataset`.
        folder: Folder to write to.
        encoder: Text encoder.
        progress: Called with the number of shards encoded, including a fraction of the current one, and the number of
            all shards.

    Raises:
        TextEncoderError: The folder holds states of another encoder or dataset, there are no captions or no shards, or
            states cannot be written.
        OSError: The folder cannot be created.
        builders.data.errors.DataError: The dataset cannot be read, or too much of it is broken.
    """
    if isinstance(encoder, EncodedText):
        raise TextEncoderError(f"{encoder.folder}: holds states of {encoder.facts.data} and cannot encode captions")
    folder = Path(folder)
    card, splits = find_dataset(data)
    if card.rendered_from:
        hint = f"write some first: zoo data make {card.name} FOLDER --clips 9"
        raise TextEncoderError(f"{card.name} is rendered when drawn and has no shards to encode; {hint}")
    shards = [path for paths in splits.values() for path in paths]
    names = [f"{path.name.partition('.tar')[0].removesuffix('.tgz')}.safetensors" for path in shards]
    if len(set(names)) < len(names):
        raise TextEncoderError(f"{data}: two of its shards have one name; their states would have one file")
    facts = _claim(folder, encoder, card.name, tuple(names))
    errors = ErrorBudget(card.name, len(shards))
    kept = captions = samples = 0
    for number, (shard, name) in enumerate(zip(shards, names, strict=True)):
        advance = partial(_advance, progress, number, len(shards))
        advance(0)
        source = _file_hash(shard)
        found = _encoded_before(folder / name, encoder, source)
        kept += found is not None
        if found is None:
            found = _encode_shard(shard, folder / name, source, encoder, errors, advance)
        captions, samples = captions + found.captions, samples + found.samples
        for error in found.broken:
            errors.add_sample(DataError(error))
    progress(len(shards), len(shards))
    errors.check(samples)
    if not captions:
        raise TextEncoderError(f"{card.name}: none of its {samples:,} samples has a caption to encode")
    replace(facts, complete=True).write(folder)
    return Encoded(len(shards) - kept, kept, captions)


def _advance(progress: Callable[[float, int], object], number: int, total: int, part: float) -> None:
    progress(number + part, total)


def _claim(folder: Path, encoder: TextEncoder, data: str, names: tuple[str, ...]) -> Facts:
    """Write the description of the states to a folder, after checking that it holds no others."""
    precision = str(encoder.precision).removeprefix("torch.")
    facts = Facts(encoder.name, encoder.fingerprint, encoder.width, encoder.tokens, precision, data, names)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / FACTS).exists():
        found = Facts.read(folder)
        for what in ("fingerprint", "tokens", "data"):
            before, now = getattr(found, what), getattr(facts, what)
            if before != now:
                before, now = (value[:12] if what == "fingerprint" else value for value in (before, now))
                raise TextEncoderError(
                    f"{folder}: holds the states of {found.data} by {found.encoder!r}; its {what} is {before}, not "
                    f"{now}: choose another folder"
                )
    facts.write(folder)
    return facts


def _file_hash(shard: Path) -> str:
    """Return the hash of a shard, to detect changes; "" if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open_regular(shard) as file:
            while block := file.read(2**20):
                digest.update(block)
    except OSError:
        return ""  # reading its samples reports the error
    return digest.hexdigest()


def _encoded_before(path: Path, encoder: TextEncoder, source: str) -> _Shard | None:
    """Return an encoded shard; None if it is missing, damaged, or of another encoder, shard or format."""
    try:
        tensors, metadata = read_tensors(path)
        made = (metadata.get("fingerprint"), metadata.get("tokens"), metadata.get("source"))
        if "checks" not in tensors or not source or made != (encoder.fingerprint, str(encoder.tokens), source):
            return None
        return _Shard(len(tensors["captions"]), int(metadata["samples"]), tuple(json.loads(metadata["broken"])))
    except (CheckpointError, KeyError, ValueError):
        return None


def _encode_shard(
    shard: Path,
    path: Path,
    source: str,
    encoder: TextEncoder,
    errors: ErrorBudget,
    progress: Callable[[float], object],
) -> _Shard:
    """Write the states of a shard; those of the readable part if the shard is broken."""
    samples, whole = 0, False
    broken: list[str] = []
    found = set()
    with errors.skip_shard():
        for member in index_shard(shard, lambda error: broken.append(str(error))):
            samples += 1
            found.add(member.caption)
        whole = True
    captions = sorted((caption for caption in found if not is_empty(caption)), key=caption_hash)
    metadata = {"kind": "text-states", "fingerprint": encoder.fingerprint, "tokens": str(encoder.tokens)}
    # Without the hash of a broken shard, so that it is encoded again next time.
    metadata |= {"source": source if whole else "", "samples": str(samples), "broken": json.dumps(broken)}
    states = _encode(captions, encoder, progress)
    try:
        write_tensors(path, states, metadata)
    except CheckpointError as error:
        reason = getattr(error.__cause__, "strerror", None) or error
        raise TextEncoderError(
            f"{path}: states cannot be written ({reason}); run the same command again to resume"
        ) from None
    return _Shard(len(captions), samples, tuple(broken))


def _encode(captions: list[str], encoder: TextEncoder, progress: Callable[[float], object]) -> dict[str, Tensor]:
    """Return the tensors of a file of states; see :mod:`builders.text.cached`."""
    parts, lengths = [torch.zeros(0, encoder.width, dtype=encoder.precision)], [torch.zeros(1, dtype=torch.int64)]
    for start in range(0, len(captions), CAPTIONS):
        states, mask = encoder(captions[start : start + CAPTIONS])
        parts.append(states[mask].to("cpu", encoder.precision))
        lengths.append(mask.sum(1).cpu())
        progress(min(1.0, (start + CAPTIONS) / len(captions)))
    states, offsets = torch.cat(parts), torch.cat(lengths).cumsum(0)
    return {
        "captions": torch.tensor([caption_hash(caption) for caption in captions], dtype=torch.int64),
        "offsets": offsets,
        "states": states,
        "checks": torch.tensor([states_hash(states[a:b]) for a, b in pairwise(offsets.tolist())], dtype=torch.int64),
    }
