"""Hostile, broken and odd files: each is right or refused with its reason, and nothing else is opened."""

from __future__ import annotations

import gc
import io
import os
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from builders.data.packing.clips.encode import encode_video
from builders.data.packing.clips.settings import ClipSettings
from builders.data.packing.shard import PackSettings
from builders.data.packing.source import Source
from builders.video.clip import VideoError
from builders.video.pyav import decode_clip
from tests.helpers.shards import encode
from tests.helpers.videos import numbered, patterned, write_video

SETTINGS = PackSettings(resolution=16, clips=ClipSettings(4, 8))
NO_VIDEO = "not a video that can be read (MP4, MOV, WebM, Matroska or AVI); broken, or of another format"


def packed(path, content=None):
    if content is not None:
        path.write_bytes(content)
    return encode_video(Source("a", str(path), "mp4"), SETTINGS)


@pytest.fixture(scope="module")
def noisy():
    """A video of twelve frames with much data."""
    noise = np.random.default_rng(0).integers(0, 255, (12, 64, 64, 3), dtype=np.uint8)
    return write_video(None, noise, 8)


def sound(seconds=1):
    """A container with sound and no pictures."""
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        samples = np.zeros((1, 8000 * seconds), np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def with_subtitles(frames):
    """A video behind a stream of subtitles."""
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format="matroska") as container:
        text = container.add_stream("ass")
        text.codec_context.subtitle_header = b"[Script Info]\nScriptType: v4.00+\n[V4+ Styles]\n[Events]\n"
        stream = container.add_stream("libx264", rate=8)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
        assert text.type == "subtitle"
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"junk" * 99, encode(Image.new("RGB", (16, 16))), b"1\n00:00:00,000 --> 00:00:01,000\nhello\n",
     b"ffconcat version 1.0\nfile other.mp4\n", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.mp4\n",
     b"#EXTM3U\n#EXTINF:9,\nhttp://example.invalid/a.ts\n", b"RIFF\0\0\0\0AVI ", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"],
    ids=["empty", "junk", "png", "srt", "ffconcat", "playlist", "address", "avi", "header"],
)  # fmt: skip
def test_what_is_no_video_is_refused_and_opens_no_other_file(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "other.mp4", patterned(8))
    opened, real = [], os.open
    monkeypatch.setattr(
        os, "open", lambda path, *given, **options: opened.append(path) or real(path, *given, **options)
    )
    before = os.stat(tmp_path / "other.mp4").st_atime_ns
    found = packed(tmp_path / "a.mp4", content)
    assert (found.state, found.problem) == ("broken", f"{tmp_path}/a.mp4: {NO_VIDEO}")
    assert opened == [str(tmp_path / "a.mp4")] and os.stat(tmp_path / "other.mp4").st_atime_ns == before
    with pytest.raises(VideoError, match="not a video that can be read"):
        decode_clip(content, "a.mp4")


def test_a_script_would_open_another_file_without_the_list_of_formats(tmp_path, monkeypatch):
    """The danger is real: this is what the options refuse."""
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "other.mp4", patterned(8))
    script = io.BytesIO(b"ffconcat version 1.0\nfile other.mp4\n")
    with av.open(script, options={"safe": "0"}) as container:
        assert len(list(container.decode(video=0))) == 8


@pytest.mark.parametrize("part", [0.5, 0.9])
def test_cut_files(tmp_path, noisy, part):
    assert packed(tmp_path / "a.mp4", noisy[: int(part * len(noisy))]).state == "broken"
    stream = write_video(None, patterned(24), 8, form="matroska", options={"g": "4"})
    found = packed(tmp_path / "a.mkv", stream[: int(part * len(stream))])
    assert found.state in ("clips", "broken", "short"), "what is left of a stream may be whole"


def test_a_file_that_lacks_its_last_bytes(tmp_path, noisy):
    assert packed(tmp_path / "a.mp4", noisy[:-10]).state == "clips"


def test_flipped_bytes(tmp_path, noisy):
    rng = np.random.default_rng(1)
    start = noisy.index(b"mdat") + 2000
    for number in range(8):
        content = bytearray(noisy)
        for place in rng.integers(start, len(noisy) - 3000, 40):
            content[place] ^= 0xFF
        with pytest.raises(VideoError, match=r"a\.mp4: broken video: "):
            decode_clip(bytes(content), "a.mp4", frames=12)
        found = packed(tmp_path / f"{number}.mp4", bytes(content))
        assert found.state == "broken" and "broken video: " in found.problem


def test_sound_alone(tmp_path):
    assert packed(tmp_path / "a.mp4", sound()).problem == f"{tmp_path}/a.mp4: has no video stream, only audio"


def test_a_video_behind_subtitles(tmp_path):
    assert packed(tmp_path / "a.mkv", with_subtitles(patterned(8))).state == "clips"


def test_pictures_in_one_frame_have_no_length(tmp_path):
    one = packed(tmp_path / "a.mp4", write_video(None, patterned(1)))
    assert one.state == "short" and "has 0.125 s; a clip of 4 frames at 8 a second has 0.5 s" in one.problem
    ticks = write_video(None, patterned(1), 8, times=[0], base=Fraction(1, 1000), form="matroska", codec="mjpeg",
                        pixels="yuvj420p")  # fmt: skip
    assert packed(tmp_path / "b.mkv", ticks).state == "short"


@pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
def test_huge_frames_are_refused_before_they_are_decoded(tmp_path, monkeypatch, codec):
    for module in ("limits", "pyav"):
        monkeypatch.setattr(f"builders.video.{module}.MAX_PIXELS", 2_000_000)
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    content = write_video(None, np.zeros((1, 1024, 2048, 3), np.uint8), codec=codec, pixels=pixels, form="matroska")
    monkeypatch.setattr("builders.data.packing.clips.encode.read_clips", None)
    problem = packed(tmp_path / "a.mkv", content).problem
    assert problem.startswith(f"{tmp_path}/a.mkv: ") and "2 megapixels" in problem
    assert "2048x1024 pixels a frame; the limit is" in problem or "it is broken, or they have more than" in problem


@pytest.mark.slow
def test_frames_of_8k(tmp_path):
    frames = np.zeros((4, 4320, 7680, 3), np.uint8)
    write_video(tmp_path / "a.mp4", frames, options={"preset": "ultrafast"})
    found = packed(tmp_path / "a.mp4")
    assert found.state == "clips" and found.scale == 4320
    larger = np.zeros((2, 6000, 8000, 3), np.uint8)
    content = write_video(None, larger, options={"preset": "ultrafast"})
    assert "36 megapixels" in packed(tmp_path / "b.mp4", content).problem and len(content) < 200_000


def test_a_size_that_only_the_header_claims(tmp_path):
    """The track says 60,000 x 60,000; the stream knows better, and what it says is taken."""
    content = write_video(None, patterned(8, 32, 32))
    size = (32 << 16).to_bytes(4, "big") * 2
    assert content.count(size) == 1
    claimed = content.replace(size, (60_000 << 16).to_bytes(4, "big") * 2)
    assert packed(tmp_path / "a.mp4", claimed).state == "clips"
    sample = (32).to_bytes(2, "big") * 2
    place = content.index(b"avc1", content.index(b"stsd")) + 28
    assert content[place : place + 4] == sample
    lying = content[:place] + (65_535).to_bytes(2, "big") * 2 + content[place + 4 :]
    assert packed(tmp_path / "a.mp4", lying).state in ("clips", "broken")


@pytest.mark.parametrize("times", [[0, 8 * 3601], [*range(100, 104), 10**6]])
def test_videos_longer_than_an_hour(tmp_path, times):
    content = write_video(None, numbered(len(times)), 8, times=times, base=Fraction(1, 8), form="matroska")
    assert packed(tmp_path / "a.mp4", content).problem == (
        f"{tmp_path}/a.mp4: longer than an hour; cut the video into shorter ones"
    )


def test_too_many_frames(tmp_path, monkeypatch):
    monkeypatch.setattr("builders.video.limits.MAX_FRAMES", 7)
    assert packed(tmp_path / "a.mp4", write_video(None, numbered(8))).problem == (
        f"{tmp_path}/a.mp4: more than 7 frames; cut the video into shorter ones"
    )


def test_clips_that_would_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("builders.data.packing.clips.encode.MAX_CLIP_BYTES", 2**12)
    write_video(tmp_path / "a.mp4", patterned(8))
    found = encode_video(Source("a", str(tmp_path / "a.mp4"), "mp4"), PackSettings(clips=ClipSettings(4, 8)))
    assert "a clip of 4 frames of 32x32 pixels takes more than" in found.problem
    monkeypatch.setattr("builders.video.pyav.MAX_CLIP_BYTES", 2**12)
    with pytest.raises(VideoError, match="its frames take more than"):
        decode_clip(write_video(None, patterned(8)), "a")


def test_nothing_is_left_open(tmp_path, noisy):
    def descriptors():
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    packed(tmp_path / "a.mp4", noisy)
    before = descriptors()
    for content in (noisy, noisy[:3000], b"junk"):
        packed(tmp_path / "a.mp4", content)
    assert descriptors() == before


def test_a_video_that_takes_too_long_is_given_up(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, patterned(8))
    found = encode_video(Source("a", str(path), "mp4"), PackSettings(clips=ClipSettings(4, 8, deadline=1e-9)))
    assert found.state == "unread"
    assert found.problem == f"{path}: takes longer than 1e-09 s; raise --deadline to wait longer"
