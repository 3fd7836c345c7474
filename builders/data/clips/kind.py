"""Whether all samples of a dataset are of one kind: images, or clips of equal numbers of frames."""

from __future__ import annotations

from builders.data.clips.facts import ClipFacts
from builders.data.errors import MixedKindsError
from builders.data.shard_index import Member

__all__ = ["Kind"]


class Kind:
    """The kind of the samples of shards without a card: images, or clips of as many frames as the first one."""

    def __init__(self) -> None:
        self._first: tuple[str, ClipFacts | None] | None = None

    def add(self, member: Member) -> None:
        """Check a sample.

        Args:
            member: Image or clip in a shard.

        Raises:
            MixedKindsError: It is an image and the first sample is a clip, or the reverse; or it is a video of which
                nothing is known.
        """
        origin, clip = member.origin, member.clip
        if clip is not None and not clip.frames:
            raise MixedKindsError(
                f"{origin} is a video, and no .json says how many 'frames' it has; pack clips of it: zoo data pack "
                f"{member.shard} FOLDER --frames 16 --rate 8 --resolution 64"
            )
        self._first = self._first or (origin, clip)
        if (self._first[1] is None) != (clip is None):
            image, video = (origin, self._first[0]) if clip is None else (self._first[0], origin)
            raise MixedKindsError(f"{image} is an image and {video} is a clip; a dataset has one kind")

    @property
    def frames(self) -> int:
        """Frames of the clips; 1 for images."""
        clip = self._first[1] if self._first else None
        return clip.frames if clip else 1

    @property
    def rate(self) -> float | None:
        """Frames a second of the clips; None for images, or if unknown."""
        clip = self._first[1] if self._first else None
        return clip.rate if clip else None
