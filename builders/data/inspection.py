"""Inspection of a dataset of images or clips: counts, sizes, classes, captions, and broken samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from builders.data.dataset_card import DatasetCard, find_dataset
from builders.data.decoding import decode_image, fit
from builders.data.errors import DataError
from builders.data.moving.images import MovingImages
from builders.data.moving.render import SIDE
from builders.data.recognition.left_out import LeftOut
from builders.data.sample_reader import SampleReader, check_kind
from builders.data.shard_index import Member, index_shard
from builders.pictures import SHOWN_FRAMES, contact_sheet, spread

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Inspection", "inspect_dataset"]

#: Side of a tile of the contact sheet in pixels.
TILE = 96


@dataclass(frozen=True)
class Inspection:
    """The content of a dataset.

    Attributes:
        name: Name of the dataset.
        licence: Licence of the images or clips.
        attribution: Attribution of the images or clips.
        shards: Number of shards.
        bytes: Size of the shards.
        samples: Number of samples by split.
        classes: Number of samples by class, "" for samples without one.
        captions: Number of samples with a caption.
        sizes: The most frequent sizes (width, height), with their counts.
        smallest: Size (width, height) of the smallest image.
        largest: Size (width, height) of the largest image.
        broken: Error of each broken image, clip or shard.
        sheet: Contact sheet of images evenly spread over the dataset; of clips, a row of frames each.
        left_out: Members of the shards that are not read, one line per kind.
        frames: Frames of a clip; 1 for images.
        rate: Frames a second of clips.
        rendered_from: Dataset that clips are rendered from when drawn; "" for samples that are stored.
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
    frames: int = 1
    rate: float | None = None
    rendered_from: str = ""

    def as_dict(self) -> dict[str, object]:
        """Return all but the contact sheet, for JSON."""
        facts = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "sheet"}
        return facts | {"sizes": [{"width": w, "height": h, "count": count} for (w, h), count in self.sizes]}


def inspect_dataset(
    name_or_path: str | Path, *, shown: int = 60, progress: Callable[[int, int], object] = lambda done, total: None
) -> Inspection:
    """Read every image or clip of a dataset once. Clips that are rendered when drawn are only counted.

    Args:
        name_or_path: Dataset, as for :func:`builders.data.open.open_dataset`.
        shown: Number of images, or of frames of clips, on the contact sheet.
        progress: Called with the number of shards read and the number of all shards.

    Raises:
        DataError: There is no such dataset, or it holds clips and PyAV is not installed.
    """
    card, splits = find_dataset(str(name_or_path), strict=False)
    shards = [(split, shard) for split, paths in splits.items() for shard in paths]
    found = _Counts(card, shown)
    if card.rendered_from:
        found.render(splits)
        shards = []
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
        frames=card.frames,
        rate=card.rate,
        rendered_from=card.rendered_from,
    )


class _Counts:
    """Counts so far, and the tiles of the contact sheet."""

    def __init__(self, card: DatasetCard, shown: int) -> None:
        self.card = card
        #: Which frames of a clip are shown.
        self.frames = spread(card.frames, SHOWN_FRAMES)
        self.shown = max(1, shown // len(self.frames))
        self._reader = SampleReader(card, TILE, card.frames)
        self.samples: Counter[str] = Counter()
        self.classes: Counter[str] = Counter()
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.captions = self.bytes = 0
        self.broken: list[str] = []
        self.left_out = LeftOut()
        self._tiles: list[np.ndarray] = []
        self._every = 1

    def read(self, split: str, shard: Path) -> None:
        """Count the images or clips of a shard."""
        try:
            self.bytes += shard.stat().st_size
            for member in index_shard(shard, self._add_broken, left_out=self.left_out):
                try:
                    size = self._read(member)
                except DataError as error:
                    self._add_broken(error)
                    continue
                self.samples[split] += 1
                self.classes[member.category] += 1
                self.captions += bool(member.caption)
                self.sizes[size] += 1
        except (DataError, OSError) as error:
            self._add_broken(error)

    def render(self, splits: Mapping[str, tuple[Path, ...]]) -> None:
        """Count the clips of a rendered dataset, and render those of the contact sheet."""
        for split, shards in splits.items():
            data = MovingImages(self.card, shards, split, TILE, frames=self.card.frames, memory=False)
            self.samples[split] = len(data)
            self.classes.update({name: int((data.classes == n).sum()) for n, name in enumerate(self.card.classes)})
            self.captions += len(data)
            self.sizes[SIDE, SIDE] += len(data)
            share = -(-self.shown // len(splits))
            self._tiles += [data.clip(index * len(data) // share)[self.frames] for index in range(share)]

    def sheet(self) -> Image.Image | None:
        """Return a contact sheet of samples evenly spread over the dataset; None if it has none."""
        count = min(self.shown, len(self._tiles))
        if not count:
            return None
        tiles = np.stack([self._tiles[index * len(self._tiles) // count] for index in range(count)])
        columns = 10 if len(self.frames) == 1 else len(self.frames)
        return contact_sheet(torch.from_numpy(tiles).flatten(0, 1).permute(0, 3, 1, 2), columns=columns)

    def _add_broken(self, error: Exception) -> None:
        # Names of members need not be UTF-8.
        self.broken.append(str(error).encode("utf-8", "backslashreplace").decode())

    def _read(self, member: Member) -> tuple[int, int]:
        """Decode a sample, and return its width and height.

        Every n-th sample is saved as tiles; n doubles whenever there are twice as many as needed.
        """
        check_kind(self.card, member)
        wanted = sum(self.samples.values()) % self._every == 0
        if member.clip is None:
            image = decode_image(member.read(), member.origin)
            size, tiles = image.size, fit(image, TILE)[None] if wanted else None
        else:
            sample = self._reader.read(member)
            size, tiles = sample.size, sample.pixels[self.frames]
        if wanted and tiles is not None:
            self._add_tiles(tiles)
        return size

    def _add_tiles(self, tiles: np.ndarray) -> None:
        self._tiles.append(tiles)
        if len(self._tiles) >= 2 * self.shown:
            self._tiles, self._every = self._tiles[::2], 2 * self._every
