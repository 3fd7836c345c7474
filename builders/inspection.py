"""What a dataset holds: counts, sizes, classes, captions, and what of it is broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from builders.dataset_card import find_dataset
from builders.decoding import decode_image, fit
from builders.images import contact_sheet
from builders.shard_index import index_shard
from builders.shards import DataError

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
        name_or_path: as for :func:`builders.data.open_dataset`.
        shown: images on the contact sheet.
        progress: told shards done and all.

    Raises:
        DataError: there is no such dataset.
    """
    card, splits = find_dataset(str(name_or_path))
    total = sum(len(shards) for shards in splits.values())
    samples: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    sizes: Counter[tuple[int, int]] = Counter()
    tiles: list[np.ndarray] = []
    broken: list[str] = []
    captions = done = size = 0
    every = 1

    def told(error: Exception) -> None:
        # Names of members need not be UTF-8.
        broken.append(str(error).encode("utf-8", "backslashreplace").decode())

    for split, shards in splits.items():
        for shard in shards:
            try:
                size += shard.stat().st_size
                for member in index_shard(shard, told):
                    try:
                        image = decode_image(member.read(), member.origin)
                    except DataError as error:
                        told(error)
                        continue
                    # Twice as many as are shown at most: then every second one goes.
                    if sum(samples.values()) % every == 0:
                        tiles.append(fit(image, 96))
                        if len(tiles) >= 2 * shown:
                            tiles, every = tiles[::2], 2 * every
                    samples[split] += 1
                    classes[member.category] += 1
                    captions += bool(member.caption)
                    sizes[image.size] += 1
            except (DataError, OSError) as error:
                told(error)
            done += 1
            progress(done, total)
    tiles = [tiles[index * len(tiles) // min(shown, len(tiles))] for index in range(min(shown, len(tiles)))]
    sheet = None
    if tiles:
        sheet = contact_sheet(torch.from_numpy(np.stack(tiles)).permute(0, 3, 1, 2), columns=10)
    order = {name: index for index, name in enumerate(card.classes)}
    counted = dict(sorted(classes.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))
    sides = sorted(sizes, key=lambda each: each[0] * each[1])
    return Inspection(
        card.name,
        card.licence,
        card.attribution,
        total,
        size,
        dict(samples),
        counted,
        captions,
        tuple(sizes.most_common(5)),
        sides[0] if sides else (0, 0),
        sides[-1] if sides else (0, 0),
        tuple(broken),
        sheet,
    )
