"""Zip files of images, listed like folders. Members are read by position, without opening the archive again."""

from __future__ import annotations

import stat
import struct
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from builders.data.errors import PackError
from builders.data.packing.layout import Listing, clean
from builders.data.packing.source import Source
from builders.data.recognition.left_out import LeftOut
from builders.data.recognition.media import IMAGE, Media
from builders.data.recognition.walk import is_hidden
from builders.data.shards import MAX_MEMBER, MAX_MEMBERS
from builders.files import open_regular

__all__ = ["list_zip"]

#: Size of a local header without its name, and the positions of the lengths of its name and its extra field.
_HEADER, _LENGTHS = 30, 26


def list_zip(path: Path, media: Media = IMAGE) -> Listing:
    """List the files of a zip file.

    If all files are in one folder that is called like the archive, or that holds folders of its own, names are relative
    to that folder.

    Raises:
        PackError: The file is not a zip file or is damaged.
    """
    left_out = LeftOut()
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            if len(infos) > MAX_MEMBERS:
                raise PackError(f"{path}: more than {MAX_MEMBERS:,} members")
            members: dict[str, Source] = {}
            for info in infos:
                if info.filename in members:
                    left_out.add("second members of one name", info.filename)
                elif _is_wanted(info, left_out):
                    members[info.filename] = _source(path, file, info)
    except PackError:
        raise
    except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, EOFError) as error:
        raise PackError(
            f"{path}: not a zip file that can be read ({error}). Unzip it and pack the folder; a CSV or JSONL file and "
            "shards can be packed too"
        ) from None
    except OSError as error:
        raise PackError(f"{path}: {error.strerror or error}") from None
    top = _top_folder(path, list(members))
    named = {name.removeprefix(top): source for name, source in members.items()}
    files = tuple(sorted(named, key=lambda name: name.split("/")))
    return Listing(str(path), files, partial(_read, named), partial(_member, named), left_out, (), media)


def _is_wanted(info: zipfile.ZipInfo, left_out: LeftOut) -> bool:
    name, mode = info.filename, info.external_attr >> 16
    if not name or info.is_dir() or is_hidden(name.replace("../", "")):
        return False
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        left_out.add("links and devices", name)
    elif name.startswith("/") or ".." in name.split("/"):
        left_out.add("members with unsafe names", name)
    else:
        return True
    return False


def _source(path: Path, file: BinaryIO, info: zipfile.ZipInfo) -> Source:
    """Return a member as an image, or with the reason why it cannot be read."""
    stem, _, extension = info.filename.rpartition(".")
    source = partial(Source, key=clean(stem or info.filename), path=str(path), extension=extension.lower())
    problem = ""
    if info.flag_bits & 1:
        problem = "encrypted"
    elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        problem = "compressed by a method that is not read; write the zip file without compression"
    elif info.file_size > MAX_MEMBER:
        problem = f"{info.file_size:,} bytes; the limit is {MAX_MEMBER:,}"
    if problem:
        return source(problem=f"{path}: {clean(info.filename)}: {problem}")
    file.seek(info.header_offset)
    header = file.read(_HEADER)
    if len(header) < _HEADER or header[:4] != b"PK\3\4":
        return source(problem=f"{path}: {clean(info.filename)}: damaged")
    offset = info.header_offset + _HEADER + sum(struct.unpack_from("<HH", header, _LENGTHS))
    deflated = info.compress_type == zipfile.ZIP_DEFLATED
    return source(offset=offset, size=info.compress_size, deflated=deflated)


def _top_folder(path: Path, names: list[str]) -> str:
    """Return the folder that holds everything, with a slash; "" if there is none or it may be a label."""
    tops = {name.partition("/")[0] if "/" in name else "" for name in names}
    if len(tops) != 1 or "" in tops:
        return ""
    (top,) = tops
    inner = [name[len(top) + 1 :] for name in names]
    nested = any("/" in name or name.lower().startswith(("metadata.", "dataset.json")) for name in inner)
    return f"{top}/" if nested or top.lower() == path.stem.lower() else ""


def _read(members: dict[str, Source], name: str) -> bytes:
    return members[name].read()


def _member(members: dict[str, Source], name: str, **facts: str) -> Source:
    return replace(members[name], **facts)  # type: ignore[arg-type]
