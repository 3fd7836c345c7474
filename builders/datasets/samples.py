"""Writing a packaged dataset: lossless images and their texts, the same bytes for the same samples."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml
from PIL import Image

from builders.data.dataset_card import CARD
from builders.data.packing.shard import add_member
from builders.data.splits import is_held_out
from builders.files import replacing, write_text

__all__ = ["NOTICE", "SUMS", "Sample", "write_dataset", "write_splits"]

#: File with the licence of the images and of what they were made from.
NOTICE = "NOTICE"
#: File with the SHA-256 of each shard, to be checked with ``sha256sum -c``.
SUMS = "SHA256SUMS"


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample of a packaged dataset.

    Attributes:
        key: Key in the shard.
        image: RGB image.
        texts: Content of its JSON file, such as ``caption`` and ``category``.
        group: Samples of one group are in one split, which a hash of the group chooses. It is stored in lower case.
    """

    key: str
    image: Image.Image
    texts: dict[str, str]
    group: str


def write_dataset(folder: Path, card: dict[str, object], notice: str, samples: Iterable[Sample]) -> None:
    """Write a dataset: the shards of both splits, ``dataset.yaml``, ``NOTICE`` and ``SHA256SUMS`` of the shards.

    Args:
        folder: Folder to write to; it is made if it is missing.
        card: Fields of :class:`builders.data.dataset_card.DatasetCard` without ``splits``.
        notice: Licences and attributions.
        samples: Samples in the order in which they are stored.

    Raises:
        OSError: A file cannot be written.
    """
    counts = write_splits(folder, samples)
    shards = {name: f"{name}.tar.gz" for name in counts}
    splits = {name: {"shards": [shards[name]], "samples": count} for name, count in counts.items()}
    write_text(folder / NOTICE, notice)
    sums = (f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in shards.values())
    write_text(folder / SUMS, "".join(sums))
    write_text(folder / CARD, yaml.safe_dump(card | {"splits": splits}, sort_keys=False, allow_unicode=True, width=118))


def write_splits(folder: Path, samples: Iterable[Sample], names: tuple[str, str] = ("train", "val")) -> dict[str, int]:
    """Write ``NAME.tar.gz`` of each split that has samples, and return their numbers of samples by name.

    Args:
        folder: Folder to write to; it is made if it is missing.
        samples: Samples in the order in which they are stored.
        names: Names of the shards of the training and the validation split.

    Raises:
        OSError: A shard cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    every = list(samples)
    counts = {}
    for name, held in zip(names, (False, True), strict=True):
        path = folder / f"{name}.tar.gz"
        chosen = [sample for sample in every if is_held_out(sample.group) == held]
        if not chosen:
            path.unlink(missing_ok=True)
            continue
        counts[name] = len(chosen)
        with replacing(path) as temporary:
            _write_samples(temporary, chosen)
        print(f"{path}: {len(chosen)} samples, {path.stat().st_size:,} bytes")
    return counts


def _write_samples(path: Path, samples: Iterable[Sample]) -> None:
    """Write a compressed shard without times, owners and file name, so that the same input gives the same bytes."""
    with (
        path.open("wb") as file,
        gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0, compresslevel=9) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for sample in samples:
            texts = json.dumps(
                sample.texts | {"group": sample.group.lower()}, ensure_ascii=False, separators=(",", ":")
            )
            add_member(tar, f"{sample.key}.json", texts.encode())
            buffer = io.BytesIO()
            sample.image.save(buffer, "WEBP", lossless=True, quality=100, method=4)
            add_member(tar, f"{sample.key}.webp", buffer.getvalue())
