"""The clips of one video, encoded as they are stored.

The worker processes of a pack import this module; neither it nor its imports need torch.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image

from builders.data.errors import DataError
from builders.data.packing.clips.settings import ClipSettings
from builders.data.packing.shard import PackSettings, resized
from builders.data.packing.source import Source
from builders.data.shards import MAX_MEMBER
from builders.files import open_regular
from builders.video.clip import VideoError, VideoUnavailableError
from builders.video.limits import MAX_CLIP_BYTES
from builders.video.pyav import encode_mp4
from builders.video.reading import read_clips, read_timeline
from builders.video.timeline import choose_clips, rate_fraction

__all__ = ["CRF", "PIXELS", "EncodedClip", "EncodedVideo", "encode_video", "too_late"]

#: Quality of stored clips: constant rate factor of x264, and format of pixels.
CRF, PIXELS = 12, "yuv444p"


@dataclass(frozen=True, slots=True)
class EncodedClip:
    """A clip as it is stored: bytes of an MP4, and its time in the video in seconds."""

    content: bytes
    start: float


@dataclass(frozen=True, slots=True)
class EncodedVideo:
    """The clips of a video, or why there are none.

    Attributes:
        state: "clips"; "short" if the video is too short; "broken"; or "unread" if it could not be read or took too
            long, so that it is tried again.
        clips: Clips.
        scale: Shorter side of the video in pixels.
        problem: What is wrong; "" if there are clips.
    """

    state: Literal["clips", "short", "broken", "unread"]
    clips: tuple[EncodedClip, ...] = ()
    scale: int = 0
    problem: str = ""


class _TooLateError(VideoError):
    """A video takes longer than the deadline."""


def encode_video(source: Source, settings: PackSettings) -> EncodedVideo:
    """Return the clips of a video, resized and encoded.

    Args:
        source: Video.
        settings: Settings of the pack, with those of clips.

    Raises:
        VideoUnavailableError: PyAV is not installed.
    """
    clips = settings.clips
    assert clips is not None
    try:
        with _opened(source) as file:
            return _encode(file, source.origin, settings, clips, time.monotonic() + clips.deadline)
    except VideoUnavailableError:
        raise
    except _TooLateError as error:
        return EncodedVideo("unread", problem=str(error))
    except (VideoError, DataError) as error:
        return EncodedVideo("broken", problem=str(error))
    except MemoryError:
        return EncodedVideo("unread", problem=f"{source.origin}: out of memory")
    except (OSError, ValueError) as error:
        return EncodedVideo("unread", problem=f"{source.origin}: {getattr(error, 'strerror', None) or error}")


def too_late(deadline: float) -> str:
    """Return what is said of a video that takes longer than a deadline in seconds."""
    return f"takes longer than {deadline:g} s; raise --deadline to wait longer"


def _opened(source: Source) -> contextlib.AbstractContextManager[BinaryIO]:
    """Open a video; members of archives are read into memory."""
    if source.is_file and not source.problem:
        return open_regular(source.path)
    return io.BytesIO(source.read())


def _encode(file: BinaryIO, origin: str, settings: PackSettings, clips: ClipSettings, end: float) -> EncodedVideo:
    def check() -> None:
        if time.monotonic() > end:
            raise _TooLateError(f"{origin}: {too_late(clips.deadline)}")

    timeline = read_timeline(file, origin, check)
    rate = rate_fraction(clips.rate)
    chosen = choose_clips(timeline.length, clips.frames, rate, clips.clips, clips.short)
    if not chosen:
        clip = f"a clip of {clips.frames} frames at {clips.rate:g} a second has {clips.seconds:.4g} s"
        return EncodedVideo("short", problem=f"{origin}: has {float(timeline.length):.4g} s; {clip}")
    shrink = _Shrink(origin, settings, clips.frames)
    read = read_clips(file, origin, timeline, chosen, each=shrink, check=check)
    with contextlib.closing(read):  # type: ignore[type-var]
        encoded = tuple(
            EncodedClip(_stored(frames, origin, clips), round(float(each.start), 6))
            for each, frames in zip(chosen, _checked(read, origin), strict=True)
        )
    return EncodedVideo("clips", encoded, shrink.scale)


def _checked(clips: Iterator[list[np.ndarray]], origin: str) -> Iterator[np.ndarray]:
    for frames in clips:
        if len({frame.shape for frame in frames}) > 1:
            raise VideoError(f"{origin}: has frames of several sizes; add --resolution")
        yield np.stack(frames)


def _stored(frames: np.ndarray, origin: str, clips: ClipSettings) -> bytes:
    content = encode_mp4(frames, clips.rate, crf=CRF, pixel_format=PIXELS, lossless=clips.lossless)
    if len(content) > MAX_MEMBER:
        raise VideoError(f"{origin}: a clip has {len(content):,} bytes; a member of a shard has at most {MAX_MEMBER:,}")
    return content


class _Shrink:
    """Resizes frames, and notes the size of the video.

    Args:
        origin: Name of the video in messages.
        settings: Settings of the pack.
        frames: Frames of a clip.
    """

    def __init__(self, origin: str, settings: PackSettings, frames: int) -> None:
        self.origin, self.settings, self.frames = origin, settings, frames
        self.scale = 0

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        self.scale = self.scale or min(frame.shape[:2])
        image = resized(Image.fromarray(frame), self.settings, self.origin)
        found = frame if image is None else np.asarray(image)
        if self.frames * found.nbytes > MAX_CLIP_BYTES:
            size = f"{self.frames} frames of {found.shape[1]}x{found.shape[0]} pixels"
            raise VideoError(
                f"{self.origin}: a clip of {size} takes more than {MAX_CLIP_BYTES // 2**30} GiB; add --resolution"
            )
        return found
