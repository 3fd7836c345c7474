"""Files that the names in a table mean: names without an extension, and images in another folder than the table."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from builders.data.errors import DataError, PackError
from builders.data.recognition.media import IMAGE, Media
from builders.data.recognition.walk import is_hidden

__all__ = ["FolderNames", "image_folder", "only_image"]

#: Folders that hold tables; the images are in folders beside them.
BESIDE = frozenset("annotations annotation labels captions metadata meta csv json splits".split())
#: Number of folders that images are looked for in, and of names that must be there.
MAX_FOLDERS, SAMPLE = 1000, 20


class FolderNames:
    """The names of images without an extension, by folder; each folder is listed once.

    Args:
        media: Kind of the files: images or videos.
    """

    def __init__(self, media: Media = IMAGE) -> None:
        self.media = media
        self._stems: dict[Path, dict[str, list[str]]] = {}

    def find(self, path: Path) -> str | None:
        """Return the only image whose path without its extension is this one, relative to its folder; None if none.

        Raises:
            DataError: There are several.
        """
        return only_image(self._names(path.parent).get(path.name, ()), self.media)

    def _names(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._stems:
            found = self._stems[folder] = defaultdict(list)
            for name in _listed(folder):
                if self.media.names(name):
                    found[name.rpartition(".")[0]].append(name)
        return self._stems[folder]


def only_image(names: Sequence[str], media: Media = IMAGE) -> str | None:
    """Return the only one of some images or videos with a name; None if there is none.

    Raises:
        DataError: There are several.
    """
    if len(names) > 1:
        raise DataError(f"several {media.noun}s have this name: {', '.join(sorted(names)[:3])}; add the extension")
    return names[0] if names else None


def image_folder(folder: Path, names: Iterable[str], media: Media = IMAGE) -> Path:
    """Return the folder that the paths in a table are relative to.

    That is the folder of the table. If it has none of the first images, it is the one in it, or beside it if it is
    called like ``annotations``, that has all of them.

    Args:
        folder: Folder of the table.
        names: Paths of the images, relative or absolute.
        media: Kind of the files: images or videos.

    Raises:
        PackError: Several folders have the images.
    """
    first = [name.replace("\\", "/") for _, name in zip(range(SAMPLE), filter(None, names), strict=False)]
    known = FolderNames(media)
    if not first or any(".." in Path(name).parts or _is_there(folder / name, known) for name in first):
        return folder
    found = [
        other for other in _folders(folder) if other != folder and all(_is_there(other / name, known) for name in first)
    ]
    if len(found) > 1:
        raise PackError(
            f"{folder}: has no {first[0]}, but several folders do ({', '.join(map(str, found[:3]))}); move the table "
            f"into the folder of its {media.noun}s"
        )
    return found[0] if found else folder


def _is_there(path: Path, known: FolderNames) -> bool:
    try:
        return path.is_file() or known.find(path) is not None
    except DataError:
        return True
    except (OSError, ValueError):  # too long, or with a NUL character
        return False


def _folders(folder: Path) -> Iterator[Path]:
    """Yield folders that may hold images: those up to two below a folder, or below the one around it."""
    top = folder.resolve().parent if folder.resolve().name.lower() in BESIDE else folder
    level, left = [top], MAX_FOLDERS
    for _ in range(3):
        yield from level
        level = [
            each / name for each in level for name in _listed(each) if not is_hidden(name) and (each / name).is_dir()
        ][:left]
        left -= len(level)


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError):
        return []
