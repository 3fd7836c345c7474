"""What a file is that is no shard, by its first bytes and its name, and what to do with it."""

from __future__ import annotations

from pathlib import Path

from builders.data.recognition.formats import IMAGES, VIDEOS, extension_of
from builders.data.recognition.media import CLIP_OPTIONS
from builders.files import open_regular
from builders.signatures import kind_by_signature

__all__ = ["PACKABLE", "describe_file"]

#: Extensions of files that ``zoo data pack`` reads.
PACKABLE = ("csv", "tsv", "tab", "json", "jsonl", "ndjson", "parquet", "zip")
_PACK = (
    "zoo data pack reads folders of images or videos, CSV, TSV, JSON, JSONL and parquet files, zip files and "
    "shards (.tar)"
)
_ARRAYS = f"write the images to files or into a parquet file; {_PACK}"
#: What to do with kinds of files that hold no images, or hold them in another way.
_ADVICE = {
    "an Arrow file": "save it as parquet and pack that",
    "an image": "give its folder",
    "a 7z archive": "unpack it and pack the folder",
    "a RAR archive": "unpack it and pack the folder",
}
_ZIPPED = {
    "npz": ("a file of NumPy arrays", _ARRAYS),
    "xlsx": ("a spreadsheet", "save it as CSV and pack that"),
    "ods": ("a spreadsheet", "save it as CSV and pack that"),
    "pt": ("a PyTorch file", _PACK),
    "pth": ("a PyTorch file", _PACK),
}


def describe_file(path: Path) -> str:
    """Return what a file is that is not a tar file and what to do, such as "a zip file; pack it: zoo data pack ..."."""
    extension = extension_of(path.name)
    try:
        with open_regular(path) as file:
            start = file.read(64)
    except (OSError, ValueError):
        return _PACK
    if not start:
        return "it is empty"
    pack = f"pack it first: zoo data pack {path} FOLDER"
    if start.startswith(b"PK"):
        kind, action = _ZIPPED.get(extension, ("a zip file", pack))
        return f"it is {kind}; {action}"
    if start.startswith(b"PAR1"):
        return f"it is a parquet file; {pack}"
    found = kind_by_signature(start)
    if found is not None:
        return f"it is {found.name}; {_ADVICE.get(found.name) or found.advice or _ARRAYS}"
    if extension in PACKABLE:
        return f"it is a .{extension} file; {pack}"
    if extension in IMAGES:
        return "it is an image; give its folder"
    if extension in VIDEOS:
        return f"it is a video; pack its folder: zoo data pack FOLDER OUT {CLIP_OPTIONS}"
    return _PACK
