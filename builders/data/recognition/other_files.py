"""Files of a folder that are neither its images or videos nor their texts."""

from __future__ import annotations

from collections.abc import Sequence

from builders.data.recognition.formats import extension_of
from builders.data.recognition.left_out import LeftOut
from builders.data.recognition.media import IMAGE, Media

__all__ = ["CAPTIONS", "other_files"]

#: Extensions of captions beside images, in order of preference.
CAPTIONS = ("txt", "caption")
#: Extensions of files that describe a dataset, or accompany it.
COMPANIONS = frozenset(("json", "jsonl", "csv", "tsv", "parquet", "yaml", "yml", "md", "html", "log", "db"))


def other_files(files: Sequence[str], walked: LeftOut, media: Media = IMAGE) -> LeftOut:
    """Count what is not read: what a walk left out, files of other types, and texts that belong to no image or video.

    Args:
        files: Names of all files.
        walked: What was left out when they were listed.
        media: Kind of the files that are read.
    """
    found = LeftOut()
    found.update(walked)
    images = [name for name in files if media.names(name)]
    stems = {name.rpartition(".")[0] for name in images} | set(images)
    for name in files:
        extension = extension_of(name)
        if extension in CAPTIONS:
            if name.rpartition(".")[0] not in stems:
                found.add(f"texts without {media.indefinite}", name)
        elif not media.names(name) and extension not in COMPANIONS:
            found.add(f".{extension} files" if extension else "files without an extension", name)
    return found
