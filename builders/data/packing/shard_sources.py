"""Images to pack that are members of shards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from builders.data.dataset_card import CARD, find_dataset, list_datasets
from builders.data.errors import DataError
from builders.data.packing.layout import Layout, Recognised, clean
from builders.data.packing.source import PackError, Source
from builders.data.shard_index import index_shard

__all__ = ["recognise_shards"]


def recognise_shards(given: str, columns: Mapping[str, tuple[str, ...]]) -> Recognised:
    """Return the images of a dataset.

    Args:
        given: Dataset, as for :func:`builders.data.dataset_card.find_dataset`.
        columns: JSON keys of "caption", "label" and "group", in order of preference.

    Raises:
        DataError: There is no such dataset, or a shard cannot be packed.
    """
    _, splits = find_dataset(given)
    has_card = given in list_datasets() or (Path(given) / CARD).is_file()
    groups = columns["group"] or (("group",) if has_card else ())
    names = {"caption": columns["caption"], "category": columns["label"], "group": groups}
    shards = [shard for paths in splits.values() for shard in paths]
    sources = tuple(source for number, shard in enumerate(shards) for source in _members(number, shard, names))
    return Recognised(sources, Layout(f"{given}: {len(shards):,} shards of {len(sources):,} images"))


def _members(number: int, shard: Path, names: Mapping[str, tuple[str, ...]]) -> list[Source]:
    found = []
    errors: list[DataError] = []
    for member in index_shard(shard, errors.append, names):
        if member.content is not None:
            raise PackError(f"{shard}: compressed shards cannot be packed again; decompress them first")
        key, _, extension = member.name.rpartition(".")
        group = clean(member.group) if member.group != member.key else ""
        facts = (member.caption, member.category, group, member.offset, member.size)
        found.append(Source(clean(f"{number:05d}/{key}"), str(shard), extension.lower(), *facts))
    # The dot keeps these keys apart from those of members.
    return found + [
        Source(f"{number:05d}/.{place}", str(shard), "", problem=str(error)) for place, error in enumerate(errors)
    ]
