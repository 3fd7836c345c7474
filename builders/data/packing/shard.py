"""One shard of a pack: the images of its sources, brought to size, and what was broken among them.

The processes of a pack load this module and what it imports; nothing here needs torch.
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
from dataclasses import InitVar, asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from builders.data.decoding import LIMIT, MAX_PIXELS, decode_image, fit
from builders.data.errors import DataError
from builders.data.packing.sources import Source
from builders.data.shards import MAX_MEMBER
from builders.files import replacing, write_text

__all__ = [
    "PackSettings",
    "Report",
    "ShardPlan",
    "Stopped",
    "listen",
    "pack_shard",
    "pack_until_stopped",
    "stamp",
    "stored_key",
]


@dataclass(frozen=True, slots=True)
class PackSettings:
    """How a dataset is packed.

    Attributes:
        resolution: side in pixels; None keeps images as they are.
        resize: "center-crop" (a square), "fit" (the shorter side, the picture whole), or "none".
        val: Whether about one sample in ten is put into the validation split, by a hash of its group.
        samples_per_shard: at most so many samples a shard.
        max_broken: share of samples that may be broken; ten may in any case.
        licence: of the images.
        attribution: whom to name.
        held_out: Former name of ``val``.
    """

    resolution: int | None = None
    resize: str = "center-crop"
    val: bool = True
    samples_per_shard: int = 1000
    max_broken: float = 0.01
    licence: str = "not stated"
    attribution: str = ""
    held_out: InitVar[bool | None] = None

    def __post_init__(self, held_out: bool | None) -> None:
        if held_out is not None:
            warnings.warn("held_out is now val; the old name goes in version 0.3", FutureWarning, stacklevel=3)
            object.__setattr__(self, "val", held_out)


class Stopped(Exception):
    """Packing was asked to stop within a shard."""


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """Which samples go into a shard.

    Attributes:
        path: file name of the shard.
        sources: its samples.
        identity: a hash of all that its bytes depend on but the settings, as far as it is known without reading files.
    """

    path: str
    sources: tuple[Source, ...]
    identity: str

    @classmethod
    def of(cls, path: str, sources: tuple[Source, ...], stamps: Mapping[str, tuple[int, ...]]) -> ShardPlan:
        """The plan of a shard whose files have these stamps."""
        digest = hashlib.sha256()
        for source in sources:
            # Where the files are does not matter, only what they are.
            facts = asdict(source) | {"path": Path(source.path).name, "stamp": stamps[source.path]}
            digest.update(json.dumps(facts, sort_keys=True).encode() + b"\n")
        return cls(path, sources, digest.hexdigest())

    @property
    def split(self) -> str:
        """Split of the samples: train or val."""
        return "train" if self.path.startswith("train-") else "val"

    def report(self, out: Path) -> Path:
        """What is written beside the finished shard, and says that it is."""
        return out / f".{self.path}.json"


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a shard.

    Attributes:
        samples: that it holds.
        broken: what is wrong with each image that it does not hold.
        unread: how many of these could not be read, which may be no fault of theirs.
        identity: of its plan.
        size: of the shard in bytes, by which one that was cut off is noticed; None in reports of earlier versions.
    """

    samples: int
    broken: tuple[str, ...]
    unread: int
    identity: str
    size: int | None = None

    @staticmethod
    def read(path: Path) -> Report | None:
        """The report in a file; None if there is none."""
        try:
            facts = json.loads(path.read_text("utf-8"))
            return Report(**{**facts, "broken": tuple(facts["broken"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None


def stamp(path: str) -> tuple[int, ...]:
    """What tells cheaply whether a file has changed: size, times of change of content and of its entry, in nanoseconds.

    Empty if there is no such file.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ()
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def stored_key(key: str) -> str:
    """A key as readers of shards take it whole: a dot would end it, and ``__x__/`` is not read."""
    key = key.replace(".", "_")
    return key.lstrip("_") if re.match(r"__[^/]*__/", key) else key


def pack_shard(plan: ShardPlan, out: Path, settings: PackSettings, stop: Callable[[], bool] = lambda: False) -> None:
    """Write a shard and its report, whole or not at all.

    Raises:
        OSError: they cannot be written.
        Stopped: ``stop`` said so.
    """
    path = out / plan.path
    samples, unread = 0, 0
    broken: list[str] = []
    try:
        # Synced: a report that the shard is finished must not outlive it.
        with replacing(path, sync=True) as temporary:
            with tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as tar:
                for source in plan.sources:
                    if stop():
                        raise Stopped
                    try:
                        content, extension = _encoded(source, settings)
                    except DataError as error:
                        broken.append(str(error))
                        continue
                    except (OSError, ValueError) as error:
                        unread += 1
                        broken.append(f"{source.origin}: {getattr(error, 'strerror', None) or error}")
                        continue
                    facts = {"caption": source.caption, "category": source.category, "group": source.group}
                    text = json.dumps({name: value for name, value in facts.items() if value}, ensure_ascii=False)
                    _add(tar, f"{stored_key(source.key)}.{extension}", content)
                    _add(tar, f"{stored_key(source.key)}.json", text.encode())
                    samples += 1
            size = temporary.stat().st_size
        if not samples:
            path.unlink(missing_ok=True)
        report = Report(samples, tuple(broken), unread, plan.identity, size)
        write_text(plan.report(out), json.dumps(asdict(report)) + "\n")
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


#: Set in a process of a pack when it is to stop.
_STOP: list[Any] = []


def listen(stopped: Any) -> None:
    """Have this process stop, within a shard, once an event is set."""
    _STOP[:] = [stopped]


def pack_until_stopped(plan: ShardPlan, out: Path, settings: PackSettings) -> None:
    """:func:`pack_shard` in a process that listens."""
    pack_shard(plan, out, settings, _STOP[0].is_set)


def _encoded(source: Source, settings: PackSettings) -> tuple[bytes, str]:
    """The image as it is stored: the file itself where nothing changes it, else a PNG."""
    content = source.read()
    image = decode_image(content, source.origin)
    if settings.resolution is None or settings.resize == "none":
        if len(content) > MAX_MEMBER:
            raise DataError(f"{source.origin}: {len(content):,} bytes; a member of a shard has at most {MAX_MEMBER:,}")
        return content, source.extension
    if settings.resize == "center-crop":
        image = Image.fromarray(fit(image, settings.resolution))
    else:
        factor = settings.resolution / min(image.size)
        size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        if size[0] * size[1] > MAX_PIXELS:
            raise DataError(f"{source.origin}: {size[0]}x{size[1]} pixels when resized; the limit is {LIMIT}")
        image = image.resize(size, Image.Resampling.BOX if factor <= 1 else Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue(), "png"


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    tar.addfile(info, io.BytesIO(content))
