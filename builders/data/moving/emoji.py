"""The images that move: those of shards, decoded once per process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image

from builders.data.decoding import decode_image
from builders.data.errors import DataError
from builders.data.shard_index import index_shard

__all__ = ["Emoji", "read_emoji"]

#: JSON keys of the name, the label and the group of an emoji.
NAMES = {"caption": ("caption",), "category": ("category",), "group": ("group",)}


@dataclass(frozen=True, eq=False)
class Emoji:
    """An emoji: its key, its name, its group of near-duplicates, and its image on white."""

    key: str
    name: str
    group: str
    image: Image.Image


@lru_cache(maxsize=4)
def read_emoji(shards: tuple[Path, ...]) -> tuple[Emoji, ...]:
    """Return the emoji of shards, in the order stored.

    Raises:
        DataError: A shard or an image is broken.
    """
    return tuple(
        Emoji(member.key, member.caption, member.group, decode_image(member.read(), member.origin))
        for shard in shards
        for member in index_shard(shard, _refuse, NAMES)
    )


def _refuse(error: DataError) -> None:
    raise error
