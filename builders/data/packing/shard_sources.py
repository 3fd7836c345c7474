"""Images and videos to pack that are members of shards."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from builders.data.dataset_card import CARD, find_dataset, list_datasets, sort_classes
from builders.data.errors import DataError
from builders.data.packing.folders import FOLDER, NONE
from builders.data.packing.kinds import check_sources
from builders.data.packing.layout import Layout, Recognised, clean, clean_label, listed
from builders.data.packing.source import PackError, Source
from builders.data.recognition.left_out import LeftOut
from builders.data.recognition.media import IMAGE, Media
from builders.data.recognition.members import Choice
from builders.data.recognition.split_folders import SplitFolders, find_splits, splits_of_shards
from builders.data.shard_index import index_shard
from builders.data.shards import NAMES

__all__ = ["recognise_shards"]


def recognise_shards(
    given: str, columns: Mapping[str, tuple[str, ...]], choice: Choice | None = None, media: Media = IMAGE
) -> Recognised:
    """Return the images or videos of a dataset.

    Args:
        given: Dataset, as for :func:`builders.data.dataset_card.find_dataset`.
        columns: JSON keys of "caption", "label" and "group", in order of preference; the label "folder" is the folder
            of a member, and "none" is none.
        choice: Which members are the image, the caption and the label of a sample, if they are named.
        media: Kind of the files that are wanted.

    Raises:
        DataError: There is no such dataset, a shard cannot be packed, or it holds files of the other kind.
    """
    card, splits = find_dataset(given, strict=False)
    if card.rendered_from:
        raise DataError(f"{given}: its clips are rendered when they are drawn; nothing of it is packed")
    has_card = given in list_datasets() or (Path(given) / CARD).is_file()
    groups = columns["group"] or (("group",) if has_card else ())
    names = {"caption": columns["caption"], "category": columns["label"], "group": groups}
    # A member that is named holds the usual keys.
    names |= {kind: NAMES[kind] for kind in ("caption", "category") if names[kind][0].endswith(".json")}
    label = columns["label"][0]
    shards = [(split, shard) for split, paths in splits.items() for shard in paths]
    if named := splits_of_shards(shard.name for _, shard in shards) if set(splits) == {"all"} else ():
        shards = [(split, shard) for split, (_, shard) in zip(named, shards, strict=True)]
    left_out = LeftOut()
    read = [
        (split, source)
        for number, (split, shard) in enumerate(shards)
        for source in _members(number, shard, names, choice, left_out)
    ]
    folders = _split_folders([source for _, source in read]) if set(splits) == {"all"} and not named else SplitFolders()
    sources = tuple(_assigned(source, split, label, folders) for split, source in read)
    check_sources(given, sources, media)
    if not sources:
        called = f" that is called {choice.image!r}" if choice and choice.image else ""
        raise PackError(
            f"{given}: no {media.noun}{called} in its shards{''.join(f'; {line}' for line in left_out.lines())}"
        )
    classes = sort_classes(source.category for source in sources)
    captions = sum(bool(source.caption) for source in sources)
    layout = Layout(
        kind=f"{given}: {len(shards):,} shard{'s' * (len(shards) != 1)} of {len(sources):,} samples",
        labels=f"in the shards ({listed(classes)})" if classes else "",
        captions=f"in the shards ({captions:,})" if captions else "",
        splits=tuple(f"{name} ({count:,})" for name, count in Counter(s.split for s in sources).items() if name),
        left_out=left_out.lines(),
        notes=() if classes else tuple(_folder_note(sources, folders)),
    )
    return Recognised(sources, layout)


def _split_folders(sources: Sequence[Source]) -> SplitFolders:
    """Return how folders in the shards assign splits."""
    try:
        return find_splits([_path(source) for source in sources if not source.problem], "")
    except DataError:  # some folders are called like splits, and others are not
        return SplitFolders()


def _path(source: Source) -> str:
    return source.key.partition("/")[2].removeprefix("./")


def _assigned(source: Source, split: str, label: str, folders: SplitFolders) -> Source:
    """Return an image with the split that the card or its folder assigns, and its folder as the label if asked for."""
    found, path = ("", _path(source)) if source.problem else folders.of(_path(source))
    split = split if split in ("train", "val", "test") else found
    folder = clean_label(posixpath.basename(posixpath.dirname(path)))
    category = {FOLDER: folder, NONE: ""}.get(label, source.category)
    return replace(source, split=split, category=category)


def _folder_note(sources: Sequence[Source], splits: SplitFolders) -> Iterator[str]:
    """Yield that the members lie in folders, which may be labels."""
    folders = sorted({_assigned(source, "", FOLDER, splits).category for source in sources} - {""})
    if len(folders) > 1:
        yield f"the folders in the shards ({listed(folders)}) are not labels; --label {FOLDER} makes them labels"


def _members(
    number: int, shard: Path, names: Mapping[str, tuple[str, ...]], choice: Choice | None, left_out: LeftOut
) -> list[Source]:
    found = []
    errors: list[DataError] = []
    for member in index_shard(shard, errors.append, names, choice=choice, left_out=left_out):
        if member.content is not None:
            raise PackError(f"{shard}: compressed shards cannot be packed again; decompress them first")
        key, _, extension = member.name.rpartition(".")
        group = clean(member.group) if member.group != member.key else ""
        facts = (clean(member.caption), clean_label(member.category), group, member.offset, member.size)
        found.append(Source(clean(f"{number:05d}/{key}"), str(shard), extension.lower(), *facts))
    # The dot keeps these keys apart from those of members.
    return found + [
        Source(f"{number:05d}/.{place}", str(shard), "", problem=str(error)) for place, error in enumerate(errors)
    ]
