"""Options of ``zoo sample`` for entries of clips, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from specs.graph import EntryGraph

__all__ = ["ClipOptions"]

#: Frames a second, and frames of a clip in a grid, by default.
FRAME_RATE, FRAMES = 8.0, 8
#: Largest number of frames a second.
MAX_RATE = 1000


@dataclass(frozen=True)
class ClipOptions:
    """How clips are written and shown; None for an option that was not given.

    Attributes:
        frame_rate: Frames a second.
        lossless: Whether clips are written without loss.
        frames: Number of frames of a clip in the grid, or "all".
    """

    frame_rate: float | None = None
    lossless: bool = False
    frames: str | None = None

    def __post_init__(self) -> None:
        if self.frame_rate is not None and not 0 < self.frame_rate <= MAX_RATE:
            raise ValueError(f"--frame-rate must be above 0 and at most {MAX_RATE}, not {self.frame_rate:g}")
        text = self.frames
        if text is not None and text != "all" and not (text.isascii() and text.isdecimal() and 0 < int(text) < 10**6):
            raise ValueError(f"--frames {text}: write a number of frames, or all")

    @property
    def rate(self) -> float:
        """Frames a second."""
        return FRAME_RATE if self.frame_rate is None else self.frame_rate

    @property
    def shown(self) -> int | None:
        """Number of frames of a clip in the grid; None for all."""
        if self.frames is None:
            return FRAMES
        return None if self.frames == "all" else int(self.frames)

    def output(self, graph: EntryGraph | None, output: Path | None) -> Path:
        """Return where samples of an entry are written.

        Args:
            graph: Graph of the entry; None if it is not known yet.
            output: Path that was given.

        Raises:
            ValueError: An option has no use: clips are drawn by no level of the entry, or not written to files.
        """
        video = graph is not None and graph.is_video
        given = {
            "--frame-rate": self.frame_rate is not None,
            "--lossless": self.lossless,
            "--frames": self.frames is not None,
        }
        for option in (name for name, used in given.items() if used):
            if graph is not None and not video:
                raise ValueError(f"{graph.name} draws images, not clips: remove {option}")
        found = output or Path("samples" if video else "samples.png")
        if self.lossless and found.suffix.lower() == ".png":
            raise ValueError(f"--lossless is for files of clips, and {found} is a grid: name a folder, --output FOLDER")
        return found
