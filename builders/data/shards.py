"""Samples of webdataset shards: tar files whose members with one key form a sample.

Members are grouped by :mod:`builders.data.recognition.members`. The reader of webdataset is not used, because it opens
``pipe:`` addresses in a shell and unpickles members by their extension. Members other than images, videos, JSON and
plain text are counted and not read.
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from builders.data.clips.facts import ClipFacts, parse_clip_facts
from builders.data.errors import DataError, HostileShardError
from builders.data.recognition.file_kinds import describe_file
from builders.data.recognition.formats import IMAGES, MEDIA, OTHER_IMAGES
from builders.data.recognition.labels import label_text, value_text, whole_number
from builders.data.recognition.left_out import LeftOut
from builders.data.recognition.members import TEXTS, Choice, Name, SampleMembers, arrange, parse_name
from builders.data.recognition.text import decode_text
from builders.data.recognition.walk import is_hidden

__all__ = ["IMAGES", "check_shard", "clip_facts", "contents", "read_samples", "read_shard", "sample_facts"]

#: JSON keys of captions and labels, in order of preference. Groups of near-duplicates have no default key, because
#: "group" is often the name of a label.
NAMES = {"caption": ("caption", "text", "prompt"), "category": ("category", "class", "label", "cls"), "group": ()}
#: Largest size of a member in bytes, and largest number of members.
MAX_MEMBER, MAX_MEMBERS = 2**26, 2_000_000
#: Folders in which webdataset expects descriptions of the shard.
_META = re.compile(r"__[^/]*__/")
_BROKEN = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


class Part(NamedTuple):
    """A member of a sample: its position in the shard, its size in bytes, and its content if it was read."""

    offset: int
    size: int
    content: bytes | None


def read_shard(path: Path) -> Iterator[dict[str, bytes | str]]:
    """Yield the samples of a shard: ``__key__``, and the bytes of each member by extension.

    Args:
        path: Path of a .tar file, compressed or not.

    Raises:
        DataError: The file is missing, not a tar file or cut off, or its members are too large or unsafely named.
    """
    for key, parts in read_samples(path, images=True):
        yield contents(key, parts)


def read_samples(
    path: Path, *, images: bool = False, choice: Choice | None = None, left_out: LeftOut | None = None
) -> Iterator[tuple[str, dict[str, Part]]]:
    """Yield the key of each sample and its members by extension.

    Args:
        path: Path of a .tar file, compressed or not.
        images: Whether to read the content of images and videos also where it can be read later by position.
        choice: Which members are the image, the caption and the label of a sample.
        left_out: Counts the members that are not read.

    Raises:
        DataError: As for :func:`read_shard`, or it is not clear which members belong together.
    """
    left_out = LeftOut() if left_out is None else left_out
    names = check_shard(path, left_out)
    try:
        samples = arrange(names, left_out, choice or Choice())
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    read = 0
    try:
        with tarfile.open(path) as tar:
            # Members of compressed archives cannot be read by position.
            compressed = not isinstance(tar.fileobj, io.BufferedReader)
            for sample in _complete(tar, samples, images or compressed):
                read += 1
                yield sample
    except (*_BROKEN, OSError) as error:
        raise DataError(f"{path}: broken after {read} samples: {error}") from None


def contents(key: str, parts: Mapping[str, Part]) -> dict[str, bytes | str]:
    """Return a sample as webdataset does: ``__key__``, and by extension the members that were read."""
    return {"__key__": key} | {name: part.content for name, part in parts.items() if part.content is not None}


def _complete(
    tar: tarfile.TarFile, samples: Sequence[SampleMembers], images: bool
) -> Iterator[tuple[str, dict[str, Part]]]:
    """Yield each sample once all of its members are read."""
    places = {index: (sample, extension) for sample in samples for extension, index in sample.members.items()}
    found: dict[int, dict[str, Part]] = {}
    for index, info in enumerate(tar):
        tar.members = []  # type: ignore[attr-defined]  # it would keep every header
        if index not in places:
            continue
        sample, extension = places.pop(index)
        content = None
        if images or extension in TEXTS or info.issparse():
            stream = tar.extractfile(info)
            assert stream is not None
            content = stream.read()
        parts = found.setdefault(id(sample), {})
        parts[extension] = Part(info.offset_data, info.size, content)
        if len(parts) == len(sample.members):
            # Members in one order, whatever their order in the file.
            del found[id(sample)]
            yield sample.key, parts


def check_shard(path: Path, left_out: LeftOut | None = None) -> list[Name]:
    """Check the headers of a shard before anything is read into memory; return the names of images, videos and texts.

    Args:
        path: Path of a .tar file, compressed or not.
        left_out: Counts links, devices, and members of other types.

    Raises:
        DataError: As for :func:`read_shard`.
    """
    if not path.is_file():
        raise DataError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    left_out = LeftOut() if left_out is None else left_out
    try:
        with tarfile.open(path) as tar:
            names = list(_names(path, tar, left_out))
            # tarfile takes a truncated header for the end; a whole archive ends in a block of zeros.
            assert tar.fileobj is not None
            tar.fileobj.seek(tar.offset)
            if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise DataError(f"{path}: the tar file is cut off")
            return names
    except tarfile.ReadError as error:
        cut_off = "unexpected end" in str(error)
        raise DataError(
            f"{path}: {'the tar file is cut off' if cut_off else f'not a tar file: {describe_file(path)}'}"
        ) from None
    except _BROKEN as error:
        raise DataError(f"{path}: the tar file is broken: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def _names(path: Path, tar: tarfile.TarFile, left_out: LeftOut) -> Iterator[Name]:
    """Yield the names of images, videos and texts, after checking each member."""
    count = 0
    while (member := tar.next()) is not None:
        count += 1
        tar.members = []  # type: ignore[attr-defined]  # it would keep every header
        if count > MAX_MEMBERS:
            raise DataError(f"{path}: more than {MAX_MEMBERS:,} members")
        if member.name.startswith("/") or ".." in member.name.split("/"):
            raise HostileShardError(f"{path}: unsafe member name {member.name!r}")
        if member.isdir() or _META.match(member.name) or is_hidden(member.name.removeprefix("./")):
            continue
        if not member.isreg():
            left_out.add("links" if member.issym() or member.islnk() else "pipes and devices", member.name)
            continue
        name = parse_name(count - 1, member.name)
        if name is None or name.suffix not in (*MEDIA, *TEXTS):
            kind = f".{name.suffix} members" if name is not None else "members without an extension"
            left_out.add(kind, member.name, minor=name is None or name.suffix not in OTHER_IMAGES)
            continue
        if member.size > MAX_MEMBER:
            raise DataError(f"{path}: {member.name} has {member.size:,} bytes; the limit is {MAX_MEMBER:,}")
        yield name


def sample_facts(sample: Mapping[str, bytes | str], names: Mapping[str, Sequence[str]] | None = None) -> dict[str, str]:
    """Return "caption", "category" and "group" of a sample; "" if unknown.

    They come from the sample's ``.json``, or from ``.txt`` or ``.caption`` (caption) and ``.cls`` (category). Samples
    of one group are near-duplicates that belong in one split; by default each sample is its own group.

    Args:
        sample: Bytes of the members by extension, and ``__key__``.
        names: JSON keys of "caption", "category" and "group". Default: ``NAMES``.

    Raises:
        DataError: The ``.json`` is not a JSON mapping, a caption is a list, a label is infinite, or a text is not
            UTF-8.
    """
    key = str(sample["__key__"])
    where = f"sample {key!r}"
    names = names or NAMES
    facts = _json_facts(sample, where)

    def member(extension: str) -> str:
        content = sample.get(extension, b"")
        assert isinstance(content, bytes)
        return decode_text(content, f"{where}: .{extension}").strip()

    caption = _first_text(facts, names["caption"], where, "caption")
    category = _first_label(facts, names["category"], where)
    group = next((text for name in names["group"] if (text := value_text(facts.get(name)))), "")
    return {
        "caption": (member("txt") or member("caption")) if caption is None else caption,
        "category": whole_number(member("cls")) if category is None else category,
        "group": group or key,
    }


def clip_facts(sample: Mapping[str, bytes | str]) -> ClipFacts:
    """Return what the ``.json`` of a sample says of its clip.

    Args:
        sample: Bytes of the members by extension, and ``__key__``.

    Raises:
        DataError: The ``.json`` is not a JSON mapping, or a fact has the wrong type.
    """
    where = f"sample {str(sample['__key__'])!r}"
    return parse_clip_facts(_json_facts(sample, where), where)


def _json_facts(sample: Mapping[str, bytes | str], where: str) -> dict[str, Any]:
    try:
        facts = json.loads(sample.get("json", b"{}"))
    except (ValueError, RecursionError):
        raise DataError(f"{where}: its .json is not JSON") from None
    if not isinstance(facts, dict):
        raise DataError(f"{where}: its .json is not a mapping")
    return facts


def _first_text(facts: Mapping[str, Any], names: Sequence[str], where: str, kind: str) -> str | None:
    """Return the first text of some JSON keys that is not empty; None if there is none."""
    odd = None
    for name in names:
        text = value_text(facts.get(name))
        if text is None:
            odd = odd or name
        elif text.strip():
            return text
    if odd is not None:
        raise DataError(f"{where}: {odd!r} is a list or a mapping; a {kind} must be one text")
    return None


def _first_label(facts: Mapping[str, Any], names: Sequence[str], where: str) -> str | None:
    """Return the first label of some JSON keys that is not empty; lists are skipped."""
    for name in names:
        text = label_text(facts.get(name), where)
        if text is not None and text.strip():
            return text.strip()
    return None
