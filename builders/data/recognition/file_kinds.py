"""What a file is that is no shard, by its first bytes and its name, and what to do with it."""

from __future__ import annotations

from pathlib import Path

from builders.data.recognition.formats import IMAGES, extension_of
from builders.files import open_regular

__all__ = ["PACKABLE", "describe_file"]

#: Extensions of files that ``zoo data pack`` reads.
PACKABLE = ("csv", "tsv", "tab", "json", "jsonl", "ndjson", "parquet", "zip")
_PACK = "zoo data pack reads folders of images, CSV, TSV, JSON, JSONL and parquet files, zip files and shards (.tar)"
_ARRAYS = f"write the images to files or into a parquet file; {_PACK}"
_UNPACK = "unpack it and pack the folder"
#: First bytes, the kind of the file, and what to do.
_KINDS = (
    (b"version https://git-lfs", "a Git LFS pointer and not the file itself", "run git lfs pull"),
    (b"<!doctype html", "a web page", "download the file again"),
    (b"<html", "a web page", "download the file again"),
    (b"<?xml", "an XML file, perhaps the error of a server", _PACK),
    (b"\x89HDF", "an HDF5 file", _ARRAYS),
    (b"\x93NUMPY", "a NumPy array", _ARRAYS),
    (b"ARROW1", "an Arrow file", "save it as parquet and pack that"),
    (b"SQLite format 3", "an SQLite database", _ARRAYS),
    (b"\x1f\x8b", "a file compressed by gzip", "decompress it"),
    (b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a file compressed by Zstandard", "decompress it"),
    (b"\x89PNG", "an image", "give its folder"),
    (b"\xff\xd8\xff", "an image", "give its folder"),
    (b"GIF8", "an image", "give its folder"),
)
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
    for mark, kind, action in _KINDS:
        if start.lower().startswith(mark.lower()):
            return f"it is {kind}; {action}"
    if extension in PACKABLE:
        return f"it is a .{extension} file; {pack}"
    if extension in IMAGES:
        return "it is an image; give its folder"
    return _PACK
