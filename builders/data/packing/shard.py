"""Packing of one shard: its images are resized and written, and broken ones are reported.

The worker processes of a pack import this module; neither it nor its imports need torch.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import InitVar, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from PIL import Image

from builders.child_processes import follow_parent
from builders.data.decoding import LIMIT, MAX_PIXELS, decode_image, fit
from builders.data.errors import DataError
from builders.data.packing.clips.settings import ClipSettings
from builders.data.packing.source import Source
from builders.data.recognition.formats import content_extension
from builders.data.recognition.media import IMAGE, VIDEO, Media
from builders.data.shards import MAX_MEMBER
from builders.files import read_json, replacing, write_text
from builders.resizing import resize

__all__ = [
    "PackSettings",
    "Report",
    "ShardPlan",
    "Stopped",
    "add_member",
    "listen",
    "pack_shard",
    "pack_until_stopped",
    "resized",
    "stamp",
    "stored_key",
]


@dataclass(frozen=True, slots=True)
class PackSettings:
    """Settings of a pack.

    Attributes:
        resolution: Side in pixels; None keeps images as they are.
        resize: "center-crop" (the center square), "fit" (the shorter side, without cropping) or "none".
        val: Whether about one sample in ten is put into the validation split, by a hash of its group.
        samples_per_shard: Largest number of samples per shard.
        max_broken: Share of the images that may be broken; up to ten may be in any case.
        licence: Licence of the images.
        attribution: Attribution of the images.
        method: Method of resizing, one of :data:`builders.resizing.RESIZINGS`.
        held_out: Former name of ``val``.
        clips: Which clips of videos are packed; None for images.
    """

    resolution: int | None = None
    resize: str = "center-crop"
    val: bool = True
    samples_per_shard: int = 1000
    max_broken: float = 0.01
    licence: str = "not stated"
    attribution: str = ""
    method: str = "area"
    held_out: InitVar[bool | None] = None
    clips: ClipSettings | None = None

    @property
    def media(self) -> Media:
        """Kind of the files that are packed."""
        return VIDEO if self.clips else IMAGE

    def __post_init__(self, held_out: bool | None) -> None:
        if held_out is not None:
            warnings.warn("held_out is now val; the old name goes in version 0.3", FutureWarning, stacklevel=3)
            object.__setattr__(self, "val", held_out)


#: Attributes of images that the identity of a shard has always depended on.
_FIRST = ("key", "path", "extension", "caption", "category", "group", "offset", "size", "problem")


def _facts(source: Source) -> dict[str, Any]:
    """Return the attributes of an image; later ones only if they are set, so that earlier packs can be resumed."""
    defaults = {field.name: field.default for field in fields(source)}
    return {name: value for name, value in asdict(source).items() if name in _FIRST or value != defaults[name]}


class Stopped(Exception):
    """Packing was asked to stop in the middle of a shard."""


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """The content of a shard.

    Attributes:
        path: File name of the shard.
        sources: Images of the shard.
        identity: Hash of all that its bytes depend on apart from the settings, computed without reading the images.
    """

    path: str
    sources: tuple[Source, ...]
    identity: str

    @classmethod
    def of(
        cls, path: str, sources: tuple[Source, ...], stamps: Mapping[str, tuple[int, ...]], encoder: str = ""
    ) -> ShardPlan:
        """Return the plan of a shard.

        Args:
            path: File name of the shard.
            sources: Images of the shard.
            stamps: Result of :func:`stamp` for each file.
            encoder: Program that encodes clips, with its version; equal clips give equal bytes with one version.
        """
        digest = hashlib.sha256(encoder.encode())
        for source in sources:
            # The folder of a file does not matter.
            facts = _facts(source) | {"path": Path(source.path).name, "stamp": stamps[source.path]}
            digest.update(json.dumps(facts, sort_keys=True).encode() + b"\n")
        return cls(path, sources, digest.hexdigest())

    @property
    def split(self) -> str:
        """Split of the samples: train, val or test."""
        return next((split for split in ("train", "test") if self.path.startswith(f"{split}-")), "val")

    def report(self, out: Path) -> Path:
        """Return the path of the report, which is written beside the finished shard."""
        return out / f".{self.path}.json"


@dataclass(frozen=True, slots=True)
class Report:
    """The result of packing a shard.

    Attributes:
        samples: Number of samples in the shard.
        broken: Error of each broken image or video.
        unread: Number of broken images that could not be read; they are tried again.
        identity: Identity of the shard's plan.
        size: Size of the shard in bytes, to detect truncated files; None in reports of earlier versions.
        short: Names and lengths of the videos that are too short for a clip.
    """

    samples: int
    broken: tuple[str, ...]
    unread: int
    identity: str
    size: int | None = None
    short: tuple[str, ...] = ()

    @staticmethod
    def read(path: Path) -> Report | None:
        """Return the report in a file; None if there is none."""
        try:
            facts = read_json(path)
            return Report(**{**facts, "broken": tuple(facts["broken"]), "short": tuple(facts.get("short", ()))})
        except (OSError, ValueError, TypeError, KeyError):
            return None


def stamp(path: str) -> tuple[int, ...]:
    """Return the size of a file, and the times of change of its content and its metadata in nanoseconds.

    They tell whether a file has changed without reading it. The tuple is empty if there is no such file.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ()
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def stored_key(key: str) -> str:
    """Return the key under which a sample is stored: without dots, which end keys, and ``__x__/``, which is skipped."""
    key = key.replace(".", "_")
    return key.lstrip("_") if re.match(r"__[^/]*__/", key) else key


def pack_shard(plan: ShardPlan, out: Path, settings: PackSettings, stop: Callable[[], bool] = lambda: False) -> Report:
    """Write a shard and then its report, and return the report.

    Args:
        plan: Content of the shard.
        out: Folder of the pack.
        settings: Settings of the pack.
        stop: Called before each image; True stops without writing the shard.

    Raises:
        OSError: The shard cannot be written.
        Stopped: ``stop`` returned True.
    """
    path = out / plan.path
    samples = unread = 0
    broken: list[str] = []
    try:
        # Synced to disk, so that a report never outlives its shard.
        with replacing(path, sync=True) as temporary:
            with tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as tar:
                for source in plan.sources:
                    if stop():
                        raise Stopped
                    try:
                        content, extension = _encoded(source, settings)
                    except DataError as error:
                        broken.append(str(error))
                    except (OSError, ValueError) as error:
                        unread += 1
                        broken.append(f"{source.origin}: {getattr(error, 'strerror', None) or error}")
                    else:
                        _add_sample(tar, source, content, extension)
                        samples += 1
            size = temporary.stat().st_size
        if not samples:
            path.unlink(missing_ok=True)
        report = Report(samples, tuple(broken), unread, plan.identity, size)
        write_text(plan.report(out), json.dumps(asdict(report)) + "\n")
        return report
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


#: The event that stops this worker process.
_STOP: list[Any] = []


def listen(stopped: Any) -> None:
    """Make this worker process stop in the middle of a shard once an event is set, and end if its parent is killed."""
    _STOP[:] = [stopped]
    follow_parent()


def pack_until_stopped(plan: ShardPlan, out: Path, settings: PackSettings) -> Report:
    """Run :func:`pack_shard` in a worker process."""
    return pack_shard(plan, out, settings, _STOP[0].is_set)


def _encoded(source: Source, settings: PackSettings) -> tuple[bytes, str]:
    """Return the bytes and extension of an image as stored: a PNG if it is resized, otherwise the file itself."""
    content = source.read()
    image = resized(decode_image(content, source.origin), settings, source.origin)
    if image is None:
        if len(content) > MAX_MEMBER:
            raise DataError(f"{source.origin}: {len(content):,} bytes; a member of a shard has at most {MAX_MEMBER:,}")
        return content, source.extension or content_extension(content)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue(), "png"


def resized(image: Image.Image, settings: PackSettings, origin: str) -> Image.Image | None:
    """Return an image as the settings resize it; None if they leave images as they are.

    Args:
        image: RGB image.
        settings: Settings of the pack.
        origin: Name of the image in messages.

    Raises:
        DataError: It would be too large.
    """
    if settings.resolution is None or settings.resize == "none":
        return None
    if settings.resize == "center-crop":
        return Image.fromarray(fit(image, settings.resolution, settings.method))
    factor = settings.resolution / min(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    if size[0] * size[1] > MAX_PIXELS:
        raise DataError(f"{origin}: {size[0]}x{size[1]} pixels when resized; the limit is {LIMIT}")
    return resize(image, size, method=settings.method)


def _add_sample(tar: tarfile.TarFile, source: Source, content: bytes, extension: str) -> None:
    facts = {"caption": source.caption, "category": source.category, "group": source.group}
    text = json.dumps({name: value for name, value in facts.items() if value}, ensure_ascii=False)
    key = stored_key(source.key)
    add_member(tar, f"{key}.{extension}", content)
    add_member(tar, f"{key}.json", text.encode())


def add_member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file without times and owners, so that equal content gives equal bytes."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
