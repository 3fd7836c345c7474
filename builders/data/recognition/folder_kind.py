"""Whether a folder holds shards, or images or videos."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from builders.data.errors import DataError
from builders.data.recognition.formats import SHARDS
from builders.data.recognition.media import IMAGE, Media
from builders.data.recognition.walk import first_file, is_hidden

__all__ = ["SAMPLES", "check_levels", "folder_kind"]

#: File in a folder of samples at several resolutions.
SAMPLES = "samples.json"


def check_levels(folder: Path) -> None:
    """Check that a folder does not hold samples at several resolutions.

    Raises:
        DataError: It does.
    """
    if (folder / SAMPLES).is_file():
        levels = [child.name for child in sorted(folder.iterdir()) if child.is_dir()]
        example = f", such as {folder / levels[-1]}" if levels else ""
        raise DataError(f"{folder}: holds samples at several resolutions; give the folder of one level{example}")


def folder_kind(folder: Path, media: Media = IMAGE) -> Literal["shards", "images"]:
    """Return what a folder is read as: a ``dataset.yaml`` or shards, or a folder of images or videos.

    Args:
        folder: Folder.
        media: Kind of the files that are wanted.

    Raises:
        DataError: The folder holds shards and such files, or samples at several resolutions.
    """
    if any((folder / name).exists() for name in ("dataset.yaml", ".pack.json")):
        return "shards"
    check_levels(folder)
    shards = sorted(
        child.name for child in folder.iterdir() if child.name.endswith(SHARDS) and not is_hidden(child.name)
    )
    if not shards:
        return "images"
    image = first_file(folder, media.extensions)
    if image is None:
        return "shards"
    tar, noun = folder / shards[0], f"{media.noun}s"
    raise DataError(
        f"{folder}: holds {noun} (such as {image}) and archives (such as {shards[0]}), and either could be the data. "
        f"For the {noun}, move {shards[0]} out of the folder; for the archives, give {tar} or a brace range"
    )
