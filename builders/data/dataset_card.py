"""Dataset cards: name, licence, classes and shards, from a ``dataset.yaml`` or from the shards."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr

from builders.data.clips.kind import Kind
from builders.data.errors import DataError, EmptySplitError, HostileShardError, MixedKindsError
from builders.data.index.cache import open_index
from builders.data.recognition.file_kinds import PACKABLE, describe_file
from builders.data.recognition.folder_kind import folder_kind
from builders.data.recognition.formats import MEDIA, SHARDS, VIDEOS, extension_of
from builders.data.recognition.left_out import LeftOut
from builders.data.recognition.media import CLIP_OPTIONS
from builders.data.recognition.split_folders import splits_of_shards
from builders.data.recognition.walk import first_file
from builders.data.urls import expand_braces, is_address, local_shard
from specs.addresses import shown_address
from specs.errors import did_you_mean, quote
from specs.schemas.evaluation import split_name
from specs.syntax.validation import validate
from specs.syntax.yaml_tree import parse
from specs.user_paths import expanded as expand_home

__all__ = [
    "CARD",
    "PLAN",
    "DatasetCard",
    "Split",
    "UnusedSplitsWarning",
    "find_dataset",
    "list_datasets",
    "sort_classes",
    "whole_number",
]

CARD = "dataset.yaml"
#: File with the plan of a pack; a pack without a card is not finished.
PLAN = ".pack.json"


class UnusedSplitsWarning(UserWarning):
    """Names of shards or folders look like splits, but do not assign them."""


class Split(BaseModel):
    """File names of the shards of a split, and their number of samples."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shards: tuple[str, ...] = Field(min_length=1)
    samples: int | None = Field(default=None, ge=1)


def _renamed(splits: dict[str, Split]) -> dict[str, Split]:
    """Return splits by their current names."""
    return splits if "val" in splits else {split_name(name): split for name, split in splits.items()}


class DatasetCard(BaseModel):
    """The content of ``dataset.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    summary: str = ""
    #: Side of the stored images in pixels, if all images are squares of one size.
    resolution: int | None = Field(default=None, ge=1)
    #: Frames of the stored clips; 1 if the samples are images.
    frames: int = Field(default=1, ge=1)
    #: Frames a second of the stored clips.
    rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    #: Program that encoded the clips, with its version.
    encoder: str = ""
    licence: str = "not stated"
    attribution: str = ""
    source: str = ""
    #: Packaged dataset that clips are rendered from when drawn; empty for samples that are stored.
    rendered_from: str = ""
    #: Names of the classes, by index.
    classes: tuple[str, ...] = ()
    #: Empty if a hash of the keys divides the samples into splits.
    splits: Annotated[dict[str, Split], AfterValidator(_renamed)] = {}
    _from_labels: bool = PrivateAttr(default=False)

    @property
    def from_labels(self) -> bool:
        """Whether the classes are the labels found in shards, because there is no ``dataset.yaml``."""
        return self._from_labels


def whole_number(name: str) -> int | None:
    """Return the value of a class name that is a whole number, such as 7 for ``007``; None for other names."""
    return int(name) if re.fullmatch(r"[+-]?[0-9]{1,18}", name) else None


def sort_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Return the different names of classes in order: by value if all are whole numbers, otherwise as text."""
    found = sorted(set(names) - {""})
    numbers = [number for name in found if (number := whole_number(name)) is not None]
    if len(numbers) < len(found):
        return tuple(found)
    return tuple(sorted(found, key=lambda name: whole_number(name) or 0))


def list_datasets() -> tuple[str, ...]:
    """Return the names of the packaged datasets."""
    return tuple(sorted(path.parent.name for path in _packaged().glob(f"*/{CARD}")))


def find_dataset(
    name_or_path: str | Path, *, fetch: bool = True, strict: bool = True
) -> tuple[DatasetCard, dict[str, tuple[Path, ...]]]:
    """Return the card of a dataset, and the paths of its shards by split.

    Args:
        name_or_path: Name of a packaged dataset; path of a folder with a ``dataset.yaml`` or shards, of a shard, or of
            a brace range of shards; or addresses that fsspec reads. Shards without a card are one split called "all".
        fetch: Whether shards at addresses may be downloaded; otherwise they must be in the cache.
        strict: Whether shards without a card must have a sample that can be read.

    Raises:
        DataError: There is no such dataset, or its shards cannot be read.
        specs.errors.SpecError: Its ``dataset.yaml`` is wrong.
    """
    if "\0" in str(name_or_path):
        raise DataError(f"no dataset {quote(str(name_or_path))}: a path has no null bytes")
    try:
        return _find_dataset(name_or_path, expand_home(name_or_path), fetch, strict)
    except OSError as error:  # such as a name that is too long, or a loop of links
        raise DataError(f"{_shown(name_or_path)}: {error.strerror or error}") from None


def _shown(name_or_path: str | Path) -> str:
    return quote(str(name_or_path))[1:-1]


def _find_dataset(
    name_or_path: str | Path, path: Path, fetch: bool, strict: bool
) -> tuple[DatasetCard, dict[str, tuple[Path, ...]]]:
    if str(name_or_path) in list_datasets():
        path = _packaged() / str(name_or_path)
    if (path / CARD).is_file():
        card = validate(DatasetCard, parse(path / CARD), "a dataset")
        if not card.splits:
            return card, {"all": _shards(path, str(name_or_path), fetch)}
        if card.rendered_from:
            path = _packaged() / card.rendered_from
        return card, {
            name: tuple(_beside(path, shard) for shard in split.shards) for name, split in card.splits.items()
        }
    if (path / PLAN).is_file():
        command = "make" if '"make"' in (path / PLAN).read_text("utf-8", "replace") else "pack"
        raise DataError(f"{path}: this pack is not finished; run the same zoo data {command} command to resume it")
    shards = _shards(path, str(name_or_path), fetch)
    if strict and (splits := splits_of_shards(shard.name for shard in shards)):
        named = " and ".join(sorted(set(splits)))
        text = f"shards are called {named}, but without a {CARD} a hash assigns the splits; zoo data pack keeps them"
        warnings.warn(f"{path}: {text}", UnusedSplitsWarning, stacklevel=3)
    return _card_of(Path(shown_address(str(name_or_path))), shards, strict), {"all": shards}


def _packaged() -> Path:
    return Path(str(files("builders"))) / "datasets"


def _beside(folder: Path, shard: str) -> Path:
    """Return the path of a shard that a card names."""
    if Path(shard).name != shard:
        raise DataError(f"{folder / CARD}: shard {shard!r} is not a file name")
    return folder / shard


def _shards(path: Path, given: str, fetch: bool) -> tuple[Path, ...]:
    """Return the shards in a folder, or those that a path, brace range or address names."""
    if path.is_dir():
        shards = tuple(sorted(child for child in path.iterdir() if child.name.endswith(SHARDS) and child.is_file()))
        if not shards:
            found = first_file(path, (*MEDIA, *PACKABLE))
            clips = f" {CLIP_OPTIONS}" if found is not None and extension_of(found) in VIDEOS else ""
            hint = "" if found is None else f"; pack it first: zoo data pack {path} FOLDER{clips}"
            raise DataError(f"{path}: no {CARD} and no shards ({', '.join(SHARDS)}) in this folder{hint}")
        folder_kind(path)
        return shards
    if path.exists():
        if extension_of(path.name) in PACKABLE:
            raise DataError(f"{path}: not a shard: {describe_file(path)}")
        return (path,)
    expanded = expand_braces(given)
    if is_address(given):
        return tuple(local_shard(address, fetch=fetch) for address in expanded)
    if expanded != (given,):
        paths = tuple(expand_home(name) for name in expanded)
        missing = next((path for path in paths if not path.is_file()), None)
        if missing is not None:
            raise DataError(f"{shown_address(given)}: {missing} does not exist")
        return paths
    if "/" in given and not os.path.lexists(path):
        around = [each.name for each in islice(os.scandir(path.parent), 1000)] if path.parent.is_dir() else []
        near = did_you_mean(path.name, sorted(around))
        raise DataError(f"no dataset {shown_address(given)!r}: there is no such file or folder{near}")
    names = list_datasets()
    hint = did_you_mean(given, names)
    raise DataError(
        f"no dataset {shown_address(given)!r}{hint} (packaged: {', '.join(names)}; or the path of a shard or a folder)"
    )


def _card_of(path: Path, shards: tuple[Path, ...], strict: bool) -> DatasetCard:
    """Return a card for shards without one; the classes are the labels of their samples.

    Broken samples and a few broken shards are reported when images are read.
    """
    found: set[str] = set()
    errors: list[DataError] = []
    left_out, kind = LeftOut(), Kind()
    samples = 0
    for shard in shards:
        try:
            index = open_index(shard)
            samples += len(index) + len(index.errors)
            left_out.update(index.left_out)
            found |= index.categories()
            for member in index.kinds():
                kind.add(member)
            if index.error is not None:
                raise index.error
        except DataError as error:
            errors.append(error)
    if not samples:
        lines = "".join(f"; left out {line}" for line in left_out.lines())
        errors.append(EmptySplitError(f"{path}: no images in its shard{'s' * (len(shards) != 1)}{lines}"))
    never_skipped = (error for error in errors if isinstance(error, HostileShardError | MixedKindsError))
    fatal = next(never_skipped, None if samples else errors[0])
    if strict and fatal is not None:
        raise fatal
    name = path.name.partition(".")[0] or path.resolve().name
    card = DatasetCard(name=name, classes=sort_classes(found), frames=kind.frames, rate=kind.rate)
    card._from_labels = True
    return card
