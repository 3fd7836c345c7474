"""Packing of one shard of clips."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from builders.data.packing.clips.encode import EncodedClip, EncodedVideo
from builders.data.packing.clips.settings import ClipSettings
from builders.data.packing.shard import PackSettings, Report, ShardPlan, add_member, stored_key
from builders.data.packing.source import Source
from builders.files import replacing, write_text

__all__ = ["add_clip", "clip_key", "pack_clips"]


def pack_clips(plan: ShardPlan, out: Path, settings: PackSettings, videos: Iterator[EncodedVideo]) -> Report:
    """Write a shard of clips and then its report, and return the report.

    Args:
        plan: Content of the shard.
        out: Folder of the pack.
        settings: Settings of the pack, with those of clips.
        videos: Clips of the videos of the shard, in their order.

    Raises:
        OSError: The shard cannot be written.
    """
    path, clips = out / plan.path, settings.clips
    assert clips is not None
    samples = 0
    problems: dict[str, list[str]] = {"short": [], "broken": [], "unread": []}
    try:
        # Synced to disk, so that a report never outlives its shard.
        with replacing(path, sync=True) as temporary:
            with tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as tar:
                for source, video in zip(plan.sources, videos, strict=False):
                    if video.state != "clips":
                        problems[video.state].append(video.problem)
                    for number, clip in enumerate(video.clips):
                        _add_clip(tar, source, clip, clip_key(source, number, clips), video.scale, clips)
                    samples += len(video.clips)
            size = temporary.stat().st_size
        if not samples:
            path.unlink(missing_ok=True)
        broken = (*problems["broken"], *problems["unread"])
        report = Report(samples, broken, len(problems["unread"]), plan.identity, size, tuple(problems["short"]))
        write_text(plan.report(out), json.dumps(asdict(report)) + "\n")
        return report
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def clip_key(source: Source, number: int, clips: ClipSettings) -> str:
    """Return the key of a clip: that of its video if one is taken, otherwise with its number."""
    key = stored_key(source.key)
    return key if clips.clips == 1 else f"{key}/{number:04d}"


def _add_clip(
    tar: tarfile.TarFile, source: Source, clip: EncodedClip, key: str, scale: int, clips: ClipSettings
) -> None:
    texts = {"caption": source.caption, "category": source.category, "group": source.group or stored_key(source.key)}
    add_clip(tar, key, clip.content, texts, frames=clips.frames, rate=clips.rate, start=clip.start, scale=scale)


def add_clip(
    tar: tarfile.TarFile,
    key: str,
    content: bytes,
    texts: Mapping[str, str],
    *,
    frames: int,
    rate: float,
    start: float,
    scale: int,
) -> None:
    """Add a clip and its JSON to a shard.

    Args:
        tar: Shard.
        key: Key of the sample.
        content: Bytes of an MP4.
        texts: Caption, category and group; empty ones are left out.
        frames: Frames of the clip.
        rate: Frames a second.
        start: Time of the first frame in the video, in seconds.
        scale: Shorter side of the video in pixels.
    """
    facts = {name: text for name, text in texts.items() if text} | {
        "frames": frames,
        "rate": int(rate) if rate == int(rate) else rate,
        "start": start,
        "scale": scale,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    add_member(tar, f"{key}.mp4", content)
    add_member(tar, f"{key}.json", json.dumps(facts, ensure_ascii=False).encode())
