"""Files of sampled clips: MP4 that players show, animated WebP, and what is read from both."""

from __future__ import annotations

import http.server
import json
import queue
import shutil
import subprocess
import threading
import urllib.parse

import numpy as np
import pytest
from PIL import Image

from builders.sampling import clip_files
from builders.sampling.clip_files import ClipFormat, playable, usable_format
from builders.sampling.frames import Frames
from builders.video.clip import VideoError, VideoUnavailableError
from builders.video.pyav import decode_clip
from specs.blocks.size import Size


def made_clip(side=16, frames=4, seed=0):
    """A square that moves to the right over a smooth ground."""
    ground = np.linspace(60, 200, side).astype(np.uint8)[:, None, None]
    clip = np.broadcast_to(ground, (frames, side, side, 3)).copy()
    for index in range(frames):
        left = index * side // (2 * frames)
        clip[index, side // 4 : side // 2, left : left + side // 2] = (230, 40 + 40 * seed, 30)
    return clip


@pytest.mark.parametrize(
    ("side", "shape"), [(16, 128), (5, 130), (45, 136), (64, 128), (127, 254), (128, 128), (129, 130), (200, 200)]
)
def test_sides_are_even_and_at_least_128(side, shape):
    clip = made_clip(side, 2)
    shown = playable(clip)
    assert shown.shape == (2, shape, shape, 3)
    factor = -(-128 // side) if side < 128 else 1
    # Whole pixels; an odd side repeats its last row and column.
    assert (shown[:, : side * factor : factor, : side * factor : factor] == clip).all()
    assert (shown[:, -1, -1] == clip[:, -1, -1]).all()


@pytest.mark.parametrize("side", [5, 16, 129])
def test_an_mp4_is_decoded_by_pyav(side, tmp_path):
    clip, form = made_clip(side, 5), ClipFormat("mp4", 12.5)
    path = form.write(clip, tmp_path / "a.mp4")
    found = decode_clip(path.read_bytes(), "a.mp4")
    assert found.frames.shape == playable(clip).shape and found.rate == 12.5
    assert found.times == pytest.approx([index / 12.5 for index in range(5)], abs=1e-3)
    again = form.read(path, Size(side, 5))
    assert again.shape == clip.shape and np.abs(again.astype(int) - clip).mean() < 4
    assert form.encode(clip) == path.read_bytes()


def test_an_animated_webp_keeps_every_pixel(tmp_path):
    clip, form = made_clip(25, 6), ClipFormat("webp", 30)
    path = form.write(clip, tmp_path / "a.webp")
    assert (form.read(path, Size(25, 6)) == clip).all()
    with Image.open(path) as picture:
        assert picture.n_frames == 6 and picture.info["loop"] == 0


@pytest.mark.parametrize("shown", [[0, 0, 0, 0, 0], [0, 0, 1, 1, 1], [0, 1, 1, 0, 0]])
def test_frames_that_stand_still_are_read_again(shown, tmp_path):
    """WebP stores equal frames in a row as one that is shown longer."""
    clip, form = made_clip(8, 2)[shown], ClipFormat("webp", 7)
    assert (form.read(form.write(clip, tmp_path / "a.webp"), Size(8, 5)) == clip).all()


@pytest.mark.parametrize("suffix", ["mp4", "webp"])
def test_damaged_and_other_files(suffix, tmp_path):
    form, path = ClipFormat(suffix), tmp_path / f"a.{suffix}"
    path.write_bytes(b"junk")
    with pytest.raises(VideoError, match=rf"a\.{suffix}"):
        form.read(path, Size(16, 4))
    form.write(made_clip(200, 4), path)  # above 16 pixels, whether enlarged or not
    with pytest.raises(VideoError, match="holds another clip, not one of 16 pixels, 4 frames"):
        form.read(path, Size(16, 4))


def test_without_pyav_clips_are_webp(monkeypatch):
    assert usable_format(12.0) == (ClipFormat("mp4", 12.0), None)
    assert usable_format(12.0, lossless=True) == (ClipFormat("webp", 12.0), None)

    def missing(*_, **__):
        raise VideoUnavailableError("videos need PyAV")

    monkeypatch.setattr(clip_files, "encode_mp4", missing)
    assert usable_format() == (ClipFormat("webp", 8.0), "videos need PyAV; clips are written as animated WebP")


def test_frames_in_python(tmp_path):
    clip = made_clip()
    frames = Frames.of(clip)
    assert len(frames) == 4 and frames[0].size == (16, 16) and repr(frames) == "<Frames: 4 of 16x16 pixels>"
    assert decode_clip(frames.save(tmp_path / "a.mp4", 4).read_bytes(), "a").rate == 4
    assert (ClipFormat("webp").read(frames.save(str(tmp_path / "a.WEBP")), Size(16, 4)) == clip).all()
    assert frames._repr_mimebundle_()["text/html"].startswith('<img src="data:image/webp;base64,UklGR')
    with pytest.raises(ValueError, match=r"a\.gif: a clip is saved as \.mp4 or \.webp"):
        frames.save(tmp_path / "a.gif")
    with pytest.raises(ValueError, match="the rate must be above 0"):
        frames.save(tmp_path / "b.mp4", 0)
    assert not (tmp_path / "b.mp4").exists()


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs ffprobe")
def test_ffprobe_reads_an_mp4(tmp_path):
    path = ClipFormat("mp4", 8).write(made_clip(), tmp_path / "a.mp4")
    options = ["-v", "error", "-select_streams", "v:0", "-count_frames", "-show_streams", "-of", "json"]
    found = json.loads(subprocess.run(["ffprobe", *options, path], check=True, capture_output=True, timeout=60).stdout)
    stream = found["streams"][0]
    expected = {"codec_name": "h264", "pix_fmt": "yuv420p", "width": 128, "height": 128, "nb_read_frames": "4"}
    assert {name: stream[name] for name in expected} == expected


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAGE = b"""<body><script>
const video = document.createElement("video"), say = text => fetch("/found?" + encodeURIComponent(text));
video.muted = true; video.src = "a.mp4";
video.onerror = () => say("error " + video.error.message);
video.onended = () => {
  const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
  canvas.width = video.videoWidth; canvas.height = video.videoHeight;
  context.drawImage(video, 0, 0);
  say([video.videoWidth, video.videoHeight, video.duration, ...context.getImageData(64, 48, 1, 1).data].join(" "));
};
document.body.append(video); video.play().catch(error => say("refused " + error));
</script></body>"""


@pytest.fixture
def reporting_server():
    """Serves PAGE and /a.mp4; returns its address, the files to fill, and a queue of what the page says."""
    files, found = {"/": ("text/html", PAGE)}, queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            path, _, text = self.path.partition("?")
            if path == "/found":
                found.put(urllib.parse.unquote(text))
            kind, data = files.get(path, ("text/plain", b""))
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", files, found
        server.shutdown()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("side", [16, 129])
def test_a_browser_plays_an_mp4(side, reporting_server, tmp_path):
    """All of it, with its size and length; what it shows at the end is the last frame."""
    address, files, found = reporting_server
    clip = made_clip(side, 4)
    files["/a.mp4"] = ("video/mp4", ClipFormat("mp4", 8).encode(clip))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
    command = [CHROMIUM, *options, f"--user-data-dir={tmp_path / 'profile'}", address]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        try:
            words = found.get(timeout=150).split()
        finally:
            browser.terminate()
    shown = playable(clip)
    assert words[:3] == [str(shown.shape[2]), str(shown.shape[1]), "0.5"], words
    assert np.abs(np.array(words[3:6], dtype=int) - shown[-1, 48, 64]).max() < 25
