"""Inspection of a dataset: counts, sizes, classes, captions, and broken images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from builders.data.dataset_card import find_dataset
from builders.data.decoding import decode_image, fit
from builders.data.errors import DataError
from builders.data.recognition.left_out import LeftOut
from builders.data.shard_index import index_shard
from builders.pictures import contact_sheet

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Inspection", "inspect_dataset"]


@dataclass(frozen=True)
class Inspection:
    """The content of a dataset.

    Attributes:
        name: Name of the dataset.
        licence: Licence of the images.
        attribution: Attribution of the images.
        shards: Number of shards.
        bytes: Size of the shards.
        samples: Number of samples by split.
        classes: Number of samples by class, "" for samples without one.
        captions: Number of samples with a caption.
        sizes: The most frequent sizes (width, height), with their counts.
        smallest: Size (width, height) of the smallest image.
        largest: Size (width, height) of the largest image.
        broken: Error of each broken image or shard.
        sheet: Contact sheet of images evenly spread over the dataset.
        left_out: Members of the shards that are not read, one line per kind.
    """

    name: str
    licence: str
    attribution: str
    shards: int
    bytes: int
    samples: dict[str, int]
    classes: dict[str, int]
    captions: int
    sizes: tuple[tuple[tuple[int, int], int], ...]
    smallest: tuple[int, int]
    largest: tuple[int, int]
    broken: tuple[str, ...]
    sheet: Image.Image | None
    left_out: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Return all but the contact sheet, for JSON."""
        facts = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "sheet"}
        return facts | {"sizes": [{"width": w, "height": h, "count": count} for (w, h), count in self.sizes]}


def inspect_dataset(
    name_or_path: str | Path, *, shown: int = 60, progress: Callable[[int, int], object] = lambda done, total: None
) -> Inspection:
    """Read every image of a dataset once.

    Args:
        name_or_path: Dataset, as for :func:`builders.data.open.open_dataset`.
        shown: Number of images on the contact sheet.
        progress: Called with the number of shards read and the number of all shards.

    Raises:
        DataError: There is no such dataset.
    """
    card, splits = find_dataset(str(name_or_path), strict=False)
    shards = [(split, shard) for split, paths in splits.items() for shard in paths]
    found = _Counts(shown)
    for done, (split, shard) in enumerate(shards, 1):
        found.read(split, shard)
        progress(done, len(shards))
    order = {name: index for index, name in enumerate(card.classes)}
    sides = sorted(found.sizes, key=lambda size: size[0] * size[1]) or [(0, 0)]
    return Inspection(
        name=card.name,
        licence=card.licence,
        attribution=card.attribution,
        shards=len(shards),
        bytes=found.bytes,
        samples=dict(found.samples),
        classes=dict(sorted(found.classes.items(), key=lambda item: (order.get(item[0], len(order)), item[0]))),
        captions=found.captions,
        sizes=tuple(found.sizes.most_common(5)),
        smallest=sides[0],
        largest=sides[-1],
        broken=tuple(found.broken),
        sheet=found.sheet(),
        left_out=found.left_out.lines(),
    )


class _Counts:
    """Counts so far, and the tiles of the contact sheet."""

    def __init__(self, shown: int) -> None:
        self.shown = shown
        self.samples: Counter[str] = Counter()
        self.classes: Counter[str] = Counter()
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.captions = self.bytes = 0
        self.broken: list[str] = []
        self.left_out = LeftOut()
        self._tiles: list[np.ndarray] = []
        self._every = 1

    def read(self, split: str, shard: Path) -> None:
        """Count the images of a shard."""
        try:
            self.bytes += shard.stat().st_size
            for member in index_shard(shard, self._add_broken, left_out=self.left_out):
                try:
                    image = decode_image(member.read(), member.origin)
                except DataError as error:
                    self._add_broken(error)
                    continue
                self._add_tile(image)
                self.samples[split] += 1
                self.classes[member.category] += 1
                self.captions += bool(member.caption)
                self.sizes[image.size] += 1
        except (DataError, OSError) as error:
            self._add_broken(error)

    def sheet(self) -> Image.Image | None:
        """Return a contact sheet of images evenly spread over the dataset; None if it has no images."""
        count = min(self.shown, len(self._tiles))
        if not count:
            return None
        tiles = np.stack([self._tiles[index * len(self._tiles) // count] for index in range(count)])
        return contact_sheet(torch.from_numpy(tiles).permute(0, 3, 1, 2), columns=10)

    def _add_broken(self, error: Exception) -> None:
        # Names of members need not be UTF-8.
        self.broken.append(str(error).encode("utf-8", "backslashreplace").decode())

    def _add_tile(self, image: Image.Image) -> None:
        """Save every n-th image as a tile; n doubles whenever there are twice as many tiles as needed."""
        if sum(self.samples.values()) % self._every:
            return
        self._tiles.append(fit(image, 96))
        if len(self._tiles) >= 2 * self.shown:
            self._tiles, self._every = self._tiles[::2], 2 * self._every
