"""Decoding and encoding of videos by PyAV. No other module imports it.

Videos are untrusted: only the formats of :data:`FORMATS` are opened, no other file or address is, sizes are checked
before frames are decoded, and damaged frames are errors.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from typing import Any, BinaryIO

import numpy as np

from builders.video.checks import check_frames, check_rate
from builders.video.clip import Clip, VideoError, VideoUnavailableError
from builders.video.limits import MAX_CLIP_BYTES, MAX_PIXELS, check_length, check_size
from builders.video.upright import Turn, square_size, turn_of, upright

__all__ = ["decode_clip", "encode_mp4", "open_video", "pyav_version", "reported", "show"]

#: Formats that are opened, by FFmpeg's names of their readers. Others may open further files (ffconcat, HLS).
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"
INSTALL = 'videos need PyAV; install it with: pip install "matryoshka-zoo[video]"'
READ = "MP4, MOV, WebM, Matroska or AVI"
#: Encoder settings for clips whose pixels are kept exactly.
_LOSSLESS = ("libx264rgb", "rgb24", {"qp": "0"})
#: How FFmpeg's scaler converts pixels: bicubic chroma, rounded exactly, by one thread. Without these, equal frames give
#: different ones from time to time.
_EXACT: dict[str, Any] = {"interpolation": 0x4 | 0x40000 | 0x80000, "threads": 1}
#: Settings of x264 with which equal frames give equal bytes. With its macroblock tree, a third of small clips differed
#: from run to run.
_REPEATABLE = "mbtree=0:bframes=0"
#: FFmpeg's numbers of the matrix of BT.601, which its scaler uses, and of the limited range.
_BT601, _LIMITED = 6, 1


@cache
def _av() -> Any:
    """Return PyAV, without its log, whose callbacks can deadlock.

    Raises:
        VideoUnavailableError: PyAV is not installed.
    """
    try:
        import av
    except ImportError:
        raise VideoUnavailableError(INSTALL) from None
    av.logging.set_level(None)
    return av


def pyav_version() -> str:
    """Return the version of PyAV.

    Raises:
        VideoUnavailableError: PyAV is not installed.
    """
    return str(_av().__version__)


@contextlib.contextmanager
def reported(origin: str) -> Iterator[None]:
    """Turn whatever PyAV raises for a damaged video into a VideoError.

    Args:
        origin: Name of the video in messages.
    """
    av = _av()
    try:
        yield
    except (VideoError, MemoryError):
        raise
    except av.error.FFmpegError as error:
        raise VideoError(f"{origin}: broken video: {error.strerror or error}") from None
    except OSError:  # of the file that is read
        raise
    except Exception as error:
        raise VideoError(f"{origin}: broken video: {error or type(error).__name__}") from None


@contextlib.contextmanager
def open_video(file: BinaryIO, origin: str) -> Iterator[tuple[Any, Any]]:
    """Open a video, and yield PyAV's container and its first video stream.

    Args:
        file: File that is open for reading. A path is not accepted: FFmpeg would read addresses and scripts.
        origin: Name of the video in messages.

    Raises:
        VideoUnavailableError: PyAV is not installed.
        VideoError: The file is no video of a format that is read, or its frames are too large.
        OSError: The file cannot be read.
    """
    av = _av()
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "none", "max_pixels": str(MAX_PIXELS)}
    with contextlib.ExitStack() as stack:
        stack.enter_context(reported(origin))
        try:
            container = stack.enter_context(av.open(file, options=options, metadata_errors="replace"))
        except av.error.FFmpegError:
            raise VideoError(f"{origin}: not a video that can be read ({READ}); broken, or of another format") from None
        stream = _first_stream(container, origin)
        context = stream.codec_context
        check_size(context.width, context.height, origin)
        check_size(*square_size(context.width, context.height, _aspect(stream)), origin)
        context.options = {"err_detect": "explode", "max_pixels": str(MAX_PIXELS)}
        context.thread_count = 1
        yield container, stream


def _first_stream(container: Any, origin: str) -> Any:
    """Return the first video stream that is no cover picture."""
    pictures = _av().stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & pictures]
    if not streams:
        others = ", ".join(sorted({stream.type for stream in container.streams}))
        raise VideoError(f"{origin}: has no video stream{f', only {others}' if others else ''}")
    if streams[0].codec_context is None:
        raise VideoError(f"{origin}: this PyAV has no decoder for its codec; convert it to H.264")
    return streams[0]


def _aspect(stream: Any) -> Fraction:
    """Return the width of a stored pixel by its height; 1 if the video does not say."""
    return Fraction(stream.sample_aspect_ratio or 1)


def show(frame: Any, stream: Any, origin: str) -> np.ndarray:
    """Return a decoded frame as it is shown: (height, width, 3) uint8 of square pixels, turned upright.

    Raises:
        VideoError: The frame is damaged or too large.
    """
    if frame.is_corrupt:
        raise VideoError(f"{origin}: broken video: a frame is damaged")
    check_size(frame.width, frame.height, origin)
    return upright(frame.to_ndarray(format="rgb24", **_EXACT), _aspect(stream), _turn(frame), origin)


def _turn(frame: Any) -> Turn:
    """Return how a frame is turned. PyAV's property knows no mirroring."""
    matrix = frame.side_data.get(_av().sidedata.sidedata.Type.DISPLAYMATRIX)
    return Turn(frame.rotation) if matrix is None else turn_of(np.frombuffer(bytes(matrix), np.int32).tolist())


def decode_clip(
    data: bytes,
    origin: str,
    *,
    frames: int | None = None,
    each: Callable[[np.ndarray], np.ndarray] = lambda frame: frame,
) -> Clip:
    """Decode all frames of a short video.

    Args:
        data: Bytes of the file.
        origin: Name of the video in messages.
        frames: Number of frames that it must have. Default: any.
        each: Called with each frame (height, width, 3) uint8; what it returns is kept. It makes frames smaller.

    Raises:
        VideoUnavailableError: PyAV is not installed.
        VideoError: The video is damaged, has another number of frames, frames of several sizes, or exceeds a limit of
            :mod:`builders.video.limits`.
    """
    kept: list[np.ndarray] = []
    ticks: list[int] = []
    with open_video(io.BytesIO(data), origin) as (container, stream):
        for frame in container.decode(stream):
            if len(kept) == frames:
                raise VideoError(f"{origin}: has more than {frames} frames")
            kept.append(each(show(frame, stream, origin)))
            ticks.append(len(ticks) if frame.pts is None else frame.pts)
            check_length(len(kept), float((ticks[-1] - ticks[0]) * stream.time_base), origin)
            if len(kept) * kept[0].nbytes > MAX_CLIP_BYTES:
                raise VideoError(f"{origin}: its frames take more than {MAX_CLIP_BYTES // 2**30} GiB when decoded")
        rate, base = float(stream.average_rate or 0), stream.time_base
    if not kept or len(kept) != (frames or len(kept)):
        needed = f"; {frames} are needed" if frames else ""
        raise VideoError(f"{origin}: has {len(kept)} frame{'s' * (len(kept) != 1)}{needed}")
    if len({frame.shape for frame in kept}) > 1:
        raise VideoError(f"{origin}: has frames of several sizes")
    return Clip(np.stack(kept), tuple(float((tick - ticks[0]) * base) for tick in ticks), rate)


def encode_mp4(
    frames: np.ndarray, rate: float, *, crf: int = 18, pixel_format: str = "yuv420p", lossless: bool = False
) -> bytes:
    """Encode a clip as an MP4 with H.264. Equal clips give equal bytes with one build of PyAV.

    Args:
        frames: Frames (frames, height, width, 3) uint8, RGB.
        rate: Frames a second.
        crf: Constant rate factor of x264, from 0 (best) to 51.
        pixel_format: Format that is stored: yuv420p, which every player shows and which needs even sides, or yuv444p.
        lossless: Whether pixels are kept exactly. Few players show such a file.

    Raises:
        VideoUnavailableError: PyAV is not installed, or has no x264.
        VideoError: The array is none of a clip, or the encoder refuses it.
    """
    check_frames(frames)
    check_rate(rate)
    av = _av()
    height, width = frames.shape[1:3]
    if not lossless and pixel_format == "yuv420p" and (width % 2 or height % 2):
        raise VideoError(f"H.264 as yuv420p needs even sides, not {width}x{height}; pad the frames or choose yuv444p")
    codec, stored, options = _LOSSLESS if lossless else ("libx264", pixel_format, {"crf": str(crf)})
    options = {**options, "x264-params": _REPEATABLE}
    try:
        av.codec.Codec(codec, "w")
    except ValueError:
        raise VideoUnavailableError(f"this PyAV has no encoder {codec}") from None
    buffer = io.BytesIO()
    try:
        with av.open(buffer, mode="w", format="mp4", container_options={"fflags": "+bitexact"}) as container:
            stream = container.add_stream(codec, rate=Fraction(rate).limit_denominator(10_000), options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, stored
            stream.codec_context.thread_count = 1
            if not lossless:
                stream.codec_context.colorspace, stream.codec_context.color_range = _BT601, _LIMITED
            for pixels in frames:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
                container.mux(stream.encode(frame.reformat(format=stored, **_EXACT)))
            container.mux(stream.encode(None))
    except av.error.FFmpegError as error:
        what = f"{len(frames)} frames of {width}x{height} pixels as {stored}"
        raise VideoError(f"x264 refuses {what}: {error.strerror or error}") from None
    return buffer.getvalue()
