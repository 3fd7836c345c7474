"""Settings of a pack of clips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from builders.data.errors import PackError
from builders.video.checks import check_rate
from builders.video.clip import VideoError

__all__ = ["MAX_FRAMES", "SHORT", "ClipSettings", "check_clip_settings", "clip_facts"]

#: Largest number of frames of a clip.
MAX_FRAMES = 4096
#: What is done with a video that is too short for a clip.
SHORT = ("skip", "loop", "hold")
#: Number of clips of a video that shards are planned for if all are taken.
PLANNED = 16


@dataclass(frozen=True, slots=True)
class ClipSettings:
    """Which clips of a video are packed, and how.

    Attributes:
        frames: Frames of a clip.
        rate: Frames a second.
        clips: Clips of a video; None for as many as lie end to end.
        short: What is done with a video that is too short: "skip", "loop" (it begins again), or "hold" (its last
            frame is repeated).
        lossless: Whether pixels are kept exactly.
        deadline: Seconds after which a video is given up.
    """

    frames: int
    rate: float
    clips: int | None = 1
    short: str = "skip"
    lossless: bool = False
    deadline: float = 60

    @property
    def seconds(self) -> float:
        """Length of a clip in seconds."""
        return self.frames / self.rate

    def videos_per_shard(self, samples: int) -> int:
        """Return the number of videos of a shard that has up to ``samples`` clips."""
        return max(1, samples // (self.clips or PLANNED))


def check_clip_settings(settings: ClipSettings) -> None:
    """Check the settings of a pack of clips.

    Raises:
        PackError: A value is out of range.
    """
    if not 2 <= settings.frames <= MAX_FRAMES:
        raise PackError(f"--frames must be from 2 to {MAX_FRAMES}, not {settings.frames}")
    try:
        check_rate(settings.rate)
    except VideoError as error:
        raise PackError(f"--rate: {error}") from None
    if settings.clips is not None and not 1 <= settings.clips <= 1000:
        raise PackError(f"--clips must be from 1 to 1000, or all, not {settings.clips}")
    if settings.short not in SHORT:
        raise PackError(f"--short must be one of {', '.join(SHORT)}, not {settings.short!r}")
    if not 0 < settings.deadline < float("inf"):
        raise PackError(f"--deadline must be a number of seconds above 0, not {settings.deadline:g}")


def clip_facts(settings: ClipSettings) -> dict[str, Any]:
    """Return the settings that the bytes of a shard depend on."""
    names = ("frames", "rate", "clips", "short", "lossless")
    return {name: getattr(settings, name) for name in names}
