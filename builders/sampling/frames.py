"""A sampled clip in Python: a list of PIL images that can be saved as a video."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
from PIL import Image

from builders.sampling.clip_files import FRAME_RATE, ClipFormat

__all__ = ["Frames"]


class Frames(list[Image.Image]):
    """The frames of a clip: a list of PIL images, shown as an animation in notebooks."""

    @classmethod
    def of(cls, frames: np.ndarray) -> Frames:
        """Return the frames of a clip (frames, height, width, 3) uint8."""
        return cls(Image.fromarray(frame) for frame in frames)

    def save(self, path: str | Path, frame_rate: float = FRAME_RATE) -> Path:
        """Write the clip as ``.mp4`` (H.264), or as ``.webp`` (animated, without loss).

        Args:
            path: File to write.
            frame_rate: Frames a second.

        Raises:
            VideoUnavailableError: PyAV, which writes MP4, is not installed.
            ValueError: The file has another suffix, or the rate is out of range.
            OSError: The file cannot be written.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix == ".mp4":
            return ClipFormat("mp4", frame_rate).write(self._array(), path)
        if suffix == ".webp":
            return ClipFormat("webp", frame_rate).write(self._array(), path)
        raise ValueError(f"{path}: a clip is saved as .mp4 or .webp")

    def __repr__(self) -> str:
        width, height = self[0].size if self else (0, 0)
        return f"<Frames: {len(self)} of {width}x{height} pixels>"

    def _array(self) -> np.ndarray:
        return np.stack([np.asarray(frame) for frame in self])

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        data = base64.b64encode(ClipFormat("webp").encode(self._array())).decode("ascii")
        return {"text/plain": repr(self), "text/html": f'<img src="data:image/webp;base64,{data}">'}
