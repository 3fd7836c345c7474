"""Options of ``zoo data pack`` for clips of videos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from builders.data.packing.clips.settings import ClipSettings

__all__ = ["Clips", "Deadline", "Frames", "Lossless", "Rate", "Short", "clip_settings"]

ALL = "all"
Frames = Annotated[int | None, typer.Option(help="Frames of a clip; for videos.")]
Rate = Annotated[float | None, typer.Option(help="Frames of a clip a second; for videos.")]
Clips = Annotated[
    str | None,
    typer.Option(
        metavar="N|all",
        help="Clips of a video: N evenly spaced, or all that lie end to end. Default: 1, from the middle.",
    ),
]
Short = Annotated[
    str | None,
    typer.Option(help="Videos that are too short: skip, loop (begin again) or hold (the last frame). Default: skip."),
]
Lossless = Annotated[bool, typer.Option("--lossless", help="Store the pixels of clips exactly.")]
Deadline = Annotated[float | None, typer.Option(help="Seconds after which a video is given up. Default: 60.")]


def clip_settings(
    frames: int | None,
    rate: float | None,
    clips: str | None,
    short: str | None,
    lossless: bool,
    deadline: float | None,
) -> ClipSettings | None:
    """Return the settings of clips; None if no options of clips are given.

    Raises:
        ValueError: An option that the others need is missing, or ``clips`` is no number.
    """
    given = {"--rate": rate, "--clips": clips, "--short": short, "--lossless": lossless or None, "--deadline": deadline}
    if frames is None:
        option = next((name for name, value in given.items() if value is not None), None)
        if option is not None:
            others = "--frames" if option == "--rate" else "--frames and --rate"
            raise ValueError(f"{option} is for clips of videos and needs {others}, such as --frames 16 --rate 8")
        return None
    if rate is None:
        raise ValueError("--frames needs --rate, the frames a second, such as --frames 16 --rate 8")

    from builders.data.packing.clips.settings import ClipSettings

    clips = "1" if clips is None else clips.strip().lower()
    if clips != ALL and not clips.isdecimal():
        raise ValueError(f"--clips must be a whole number or {ALL}, not {clips!r}")
    count = None if clips == ALL else int(clips)
    return ClipSettings(frames, rate, count, short or "skip", lossless, 60 if deadline is None else deadline)
