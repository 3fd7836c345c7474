"""Packing of shards of clips, parallel by video."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

from builders.data.errors import PackError
from builders.data.packing.clips.encode import EncodedVideo
from builders.data.packing.clips.settings import ClipSettings
from builders.data.packing.clips.shard import pack_clips
from builders.data.packing.clips.workers import encode_videos
from builders.data.packing.shard import PackSettings, Report, ShardPlan, stored_key
from builders.data.packing.source import Source
from builders.video.clip import VideoUnavailableError
from builders.video.pyav import pyav_version

__all__ = ["check_clip_keys", "check_lengths", "encoder_name", "run_clips"]


def encoder_name() -> str:
    """Return the program that encodes clips, with its version.

    Raises:
        PackError: It is not installed.
    """
    try:
        return f"PyAV {pyav_version()}"
    except VideoUnavailableError as error:
        raise PackError(str(error)) from None


def run_clips(
    shards: Sequence[ShardPlan],
    out: Path,
    settings: PackSettings,
    workers: int,
    finished: Callable[[], object] = lambda: None,
) -> Generator[tuple[ShardPlan, Report], None, None]:
    """Pack shards of clips, and yield each with its report.

    Args:
        shards: Shards to pack.
        out: Folder of the pack.
        settings: Settings of the pack, with those of clips.
        workers: Number of worker processes; 0 packs in this process.
        finished: Called after each video.

    Raises:
        PackError: PyAV is not installed, or workers cannot start.
        OSError: A shard cannot be written.
    """
    sources = [source for shard in shards for source in shard.sources]
    with contextlib.closing(encode_videos(sources, settings, workers)) as videos:
        counted = _counted(videos, finished)
        for shard in shards:
            yield shard, pack_clips(shard, out, settings, counted)


def _counted(videos: Iterator[EncodedVideo], finished: Callable[[], object]) -> Iterator[EncodedVideo]:
    for video in videos:
        yield video
        finished()


def check_clip_keys(sources: Sequence[Source], clips: ClipSettings) -> None:
    """Check that no video is called like a clip of another one.

    Raises:
        PackError: One is.
    """
    keys = {stored_key(source.key): source for source in sources}
    for key, source in keys.items() if clips.clips != 1 else ():
        above, _, name = key.rpartition("/")
        if above in keys and name.isdecimal() and len(name) == 4:
            raise PackError(f"{source.origin}: is called like a clip of {keys[above].origin}; rename one of them")


def check_lengths(short: Sequence[str], samples: int) -> None:
    """Check that some video was long enough for a clip.

    Raises:
        PackError: None was.
    """
    if samples or not short:
        return
    listed = "; ".join(short[:5]) + (f"; and {len(short) - 5} more" if len(short) > 5 else "")
    which = "the only video is" if len(short) == 1 else f"{len(short)} videos are"
    raise PackError(
        f"{which} too short: {listed}. Choose fewer --frames or a higher --rate, or add --short loop or --short hold"
    )
