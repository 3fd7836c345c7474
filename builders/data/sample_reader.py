"""Reading of one sample: an image or the frames of a clip, cropped to a square and resized."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from builders.data.clips.arrays import chosen_frames
from builders.data.clips.facts import ClipFacts
from builders.data.dataset_card import DatasetCard
from builders.data.decoding import decode_image, decode_reduced, fit, fit_random, fit_reduced
from builders.data.errors import DataError, MixedKindsError
from builders.data.index.table import ShardIndex
from builders.data.shard_index import Member
from builders.video.clip import VideoError, VideoUnavailableError
from builders.video.pyav import decode_clip, pyav_version

__all__ = ["Sample", "SampleReader", "check_kind", "check_kinds"]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A decoded sample.

    Attributes:
        pixels: Pixels (frames, resolution, resolution, 3) uint8; an image has one frame.
        size: Width and height in pixels as stored.
        scale: Shorter side of the original in pixels.
    """

    pixels: np.ndarray
    size: tuple[int, int]
    scale: float

    @property
    def side(self) -> int:
        """Shorter side in pixels as stored."""
        return min(self.size)


class SampleReader:
    """Reads the samples of a dataset.

    Args:
        card: Card of the dataset.
        resolution: Side in pixels that samples are resized to. Default: the shorter side of the first one that is read.
        frames: Frames that are taken of each clip.
        reduced: Whether large JPEG images are decoded at a smaller size, see
            :func:`builders.data.decoding.decode_reduced`.

    Raises:
        DataError: ``frames`` does not fit the clips of the dataset, or they cannot be decoded without PyAV.
    """

    def __init__(self, card: DatasetCard, resolution: int | None, frames: int, *, reduced: bool = False) -> None:
        self.card, self.resolution, self.frames, self.reduced = card, resolution, frames, reduced
        self.chosen = chosen_frames(card, frames)
        if card.frames > 1:
            try:
                pyav_version()
            except VideoUnavailableError as error:
                raise DataError(f"{card.name}: {error}") from None

    def read(self, member: Member, corner: tuple[float, float] | None = None) -> Sample:
        """Read a sample.

        Args:
            member: Image or clip in a shard.
            corner: Position of the square that is taken, from 0 to 1 in x and y, the same one of all frames. Default:
                the center square.

        Raises:
            DataError: The sample is broken, has other bytes than its ``.json`` says, or is a clip of another number of
                frames than those of the dataset.
        """
        if member.clip is None and self.reduced and self.resolution is not None:
            found = decode_reduced(member.read(), member.origin, self.resolution)
            return Sample(fit_reduced(found, self.resolution, corner)[None], found.size, min(found.size))
        if member.clip is None:
            image = decode_image(member.read(), member.origin)
            return Sample(self._square(image, corner)[None], image.size, min(image.size))
        return self._read_clip(member, member.clip, corner)

    def _read_clip(self, member: Member, facts: ClipFacts, corner: tuple[float, float] | None) -> Sample:
        if facts.frames != self.card.frames:
            says = f"{facts.frames} frames" if facts.frames else "no 'frames'"
            raise DataError(
                f"{member.origin}: its .json says {says}; clips of {self.card.name} have {self.card.frames}"
            )
        content = member.read()
        if facts.sha256 and hashlib.sha256(content).hexdigest() != facts.sha256:
            raise DataError(f"{member.origin}: damaged: its bytes do not match the hash in its .json")
        kept: list[np.ndarray] = []
        sizes: list[tuple[int, int]] = []

        def keep(frame: np.ndarray) -> np.ndarray:
            sizes.append(frame.shape[1::-1])
            if sizes[-1] != sizes[0]:
                raise VideoError(f"{member.origin}: has frames of several sizes")
            if len(sizes) - 1 in self.chosen:
                kept.append(self._square(Image.fromarray(frame), corner))
            return kept[0]

        try:
            decode_clip(content, member.origin, frames=facts.frames, each=keep)
        except VideoUnavailableError:
            raise
        except VideoError as error:
            raise DataError(str(error)) from None
        return Sample(np.stack(kept), sizes[0], facts.scale or min(sizes[0]))

    def _square(self, image: Image.Image, corner: tuple[float, float] | None) -> np.ndarray:
        self.resolution = self.resolution or min(image.size)
        return fit(image, self.resolution) if corner is None else fit_random(image, self.resolution, *corner)


def check_kind(card: DatasetCard, member: Member) -> None:
    """Check that a sample is of the kind that the card of its dataset says.

    Raises:
        MixedKindsError: It is an image in a dataset of clips, or a clip in a dataset of images.
    """
    if member.clip is None and card.frames > 1:
        raise MixedKindsError(f"{member.origin} is an image, but {card.name} holds clips of {card.frames} frames")
    if member.clip is not None and card.frames == 1 and member.clip.frames != 1:
        says = f"frames: {member.clip.frames or 16}"
        raise MixedKindsError(
            f"{member.origin} is a video, but {card.name} holds images; the dataset.yaml of clips says {says!r}"
        )


def check_kinds(card: DatasetCard, index: ShardIndex) -> None:
    """Check the samples of a shard; see :func:`check_kind`.

    Raises:
        MixedKindsError: One is of another kind.
    """
    first = index.first_image() if card.frames > 1 else index.first_clip()
    if first is not None:
        check_kind(card, first)
