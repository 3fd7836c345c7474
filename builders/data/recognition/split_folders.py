"""Splits by the names of folders: ``train/cat/0.png`` or ``cat/train/0.png``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from builders.data.errors import DataError

__all__ = ["SplitFolders", "common_depth", "find_splits", "split_of", "split_of_file", "splits_of_shards"]

_NAMES = {
    "train": ("train", "training", "trainset", "train_set"),
    "val": ("val", "valid", "validation", "valset", "val_set", "dev", "eval", "held_out", "heldout", "holdout"),
    "test": ("test", "testing", "testset", "test_set"),
}
_SPLITS = {name: split for split, names in _NAMES.items() for name in names}
#: A year, as in ``train2017``.
_YEAR = re.compile(r"[-_ ]?(19|20)\d\d$")


@dataclass(frozen=True, slots=True)
class SplitFolders:
    """Which part of the path of an image names its split.

    Attributes:
        depth: Index of that part; None if there are no splits.
        assigned: Whether the part assigns a split; otherwise it is only no label.
    """

    depth: int | None = None
    assigned: bool = True

    def of(self, name: str) -> tuple[str, str]:
        """Return the split of an image ("" if it has none), and its path without the folder of the split."""
        if self.depth is None:
            return "", name
        parts = name.split("/")
        return split_of(parts[self.depth]) if self.assigned else "", "/".join(
            parts[: self.depth] + parts[self.depth + 1 :]
        )


def split_of(folder: str) -> str:
    """Return the split that a folder's name stands for: "train", "val", "test", or "" for none."""
    return _SPLITS.get(_YEAR.sub("", folder.lower()).replace("-", "_"), "")


def splits_of_shards(names: Iterable[str]) -> tuple[str, ...]:
    """Return the splits that the names of shards assign (``train-0000.tar``), one per shard; empty if they do not.

    Every shard must be called like one split, and one of them train.
    """
    splits = tuple(split_of_file(name) for name in names)
    return splits if all(splits) and "train" in splits and len(set(splits)) > 1 else ()


def split_of_file(name: str) -> str:
    """Return the split that a word of a file's name stands for; "" for none, or if there are several."""
    found = {split for word in re.split(r"[-_.\d]+", name) if (split := split_of(word))}
    return found.pop() if len(found) == 1 else ""


def common_depth(paths: Iterable[str]) -> int:
    """Return the number of folders, from the top, that hold all paths and no file directly."""
    folders = [path.split("/")[:-1] for path in paths]
    first, last = min(folders, default=[]), max(folders, default=[])
    shared = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return max(0, min(shared, min(map(len, folders), default=0) - 1))


def find_splits(images: Sequence[str], source: str) -> SplitFolders:
    """Return how folders assign splits.

    The folders of one depth are splits if all of them have names of splits and one is called train, or several are at
    the top. A single folder at the top that is called val or test is the whole of the data. Folders that hold all
    images and no image directly are not counted: below them is the top.

    Args:
        images: Paths of images, separated by "/".
        source: Name of the folder in messages.

    Raises:
        DataError: Some of the folders at the top are splits, and others are not.
    """
    top = common_depth(images)
    for depth in sorted({0, 1, top, top + 1}):
        folders = {parts[depth] for image in images if len(parts := image.split("/")) > depth + 1}
        outside = [image for image in images if image.count("/") <= depth]
        splits = {split for folder in folders if (split := split_of(folder))}
        others = sorted(folder for folder in folders if not split_of(folder))
        if not splits or (depth > top and "train" not in splits):
            continue
        if not others and not outside:
            return SplitFolders(depth, assigned="train" in splits or len(folders) > 1)
        if depth <= top and len(splits) > 1:
            named = sorted(folders - set(others))
            beside = f"folders {', '.join(others[:3])}" if others else f"images such as {outside[0]}"
            raise DataError(
                f"{source}: the folders {', '.join(named)} look like splits, but there are {beside} beside them. If "
                "they are splits, move the others away; if all folders are labels, add --label folder"
            )
    return SplitFolders()
