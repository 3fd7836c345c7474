"""What a dataset holds: counts, sizes, classes, captions, and what of it is broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from builders.data.dataset_card import find_dataset
from builders.data.decoding import decode_image, fit
from builders.data.errors import DataError
from builders.data.shard_index import index_shard
from builders.pictures import contact_sheet

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Inspection", "inspect_dataset"]


@dataclass(frozen=True)
class Inspection:
    """What was found; ``sheet`` shows some of the images, evenly spread."""

    name: str
    licence: str
    attribution: str
    shards: int
    bytes: int
    #: Samples by split.
    samples: dict[str, int]
    #: Samples by class, "" for none.
    classes: dict[str, int]
    captions: int
    #: Most frequent sizes (width, height) with their counts.
    sizes: tuple[tuple[tuple[int, int], int], ...]
    smallest: tuple[int, int]
    largest: tuple[int, int]
    broken: tuple[str, ...]
    sheet: Image.Image | None

    def as_dict(self) -> dict[str, object]:
        """All but the picture, for JSON."""
        return {
            "name": self.name,
            "licence": self.licence,
            "attribution": self.attribution,
            "shards": self.shards,
            "bytes": self.bytes,
            "samples": self.samples,
            "classes": self.classes,
            "captions": self.captions,
            "sizes": [{"width": w, "height": h, "count": count} for (w, h), count in self.sizes],
            "smallest": list(self.smallest),
            "largest": list(self.largest),
            "broken": list(self.broken),
        }


def inspect_dataset(
    name_or_path: str | Path, *, shown: int = 60, progress: Callable[[int, int], object] = lambda done, total: None
) -> Inspection:
    """Read every image of a dataset once.

    Args:
        name_or_path: as for :func:`builders.data.open.open_dataset`.
        shown: images on the contact sheet.
        progress: told shards done and all.

    Raises:
        DataError: there is no such dataset.
    """
    card, splits = find_dataset(str(name_or_path))
    total = sum(len(shards) for shards in splits.values())
    found = _Found(shown)
    done = 0
    for split, shards in splits.items():
        for shard in shards:
            found.read(split, shard)
            done += 1
            progress(done, total)
    order = {name: index for index, name in enumerate(card.classes)}
    counted = dict(sorted(found.classes.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))
    sides = sorted(found.sizes, key=lambda each: each[0] * each[1])
    return Inspection(
        name=card.name,
        licence=card.licence,
        attribution=card.attribution,
        shards=total,
        bytes=found.bytes,
        samples=dict(found.samples),
        classes=counted,
        captions=found.captions,
        sizes=tuple(found.sizes.most_common(5)),
        smallest=sides[0] if sides else (0, 0),
        largest=sides[-1] if sides else (0, 0),
        broken=tuple(found.broken),
        sheet=found.sheet(),
    )


class _Found:
    """What was found so far, and the tiles of the contact sheet."""

    def __init__(self, shown: int) -> None:
        self.shown = shown
        self.samples: Counter[str] = Counter()
        self.classes: Counter[str] = Counter()
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.captions = self.bytes = 0
        self.broken: list[str] = []
        self._tiles: list[np.ndarray] = []
        self._every = 1

    def read(self, split: str, shard: Path) -> None:
        """Every image of a shard."""
        try:
            self.bytes += shard.stat().st_size
            for member in index_shard(shard, self._tell):
                try:
                    image = decode_image(member.read(), member.origin)
                except DataError as error:
                    self._tell(error)
                    continue
                self._show(image)
                self.samples[split] += 1
                self.classes[member.category] += 1
                self.captions += bool(member.caption)
                self.sizes[image.size] += 1
        except (DataError, OSError) as error:
            self._tell(error)

    def sheet(self) -> Image.Image | None:
        """Images evenly spread over all; None without any."""
        count = min(self.shown, len(self._tiles))
        if not count:
            return None
        tiles = np.stack([self._tiles[index * len(self._tiles) // count] for index in range(count)])
        return contact_sheet(torch.from_numpy(tiles).permute(0, 3, 1, 2), columns=10)

    def _tell(self, error: Exception) -> None:
        # Names of members need not be UTF-8.
        self.broken.append(str(error).encode("utf-8", "backslashreplace").decode())

    def _show(self, image: Image.Image) -> None:
        if sum(self.samples.values()) % self._every:
            return
        self._tiles.append(fit(image, 96))
        # Twice as many as are shown at most: then every second one goes.
        if len(self._tiles) >= 2 * self.shown:
            self._tiles, self._every = self._tiles[::2], 2 * self._every
