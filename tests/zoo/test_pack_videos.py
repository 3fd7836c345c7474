"""``zoo data pack`` of videos: which options are needed, sources of the other kind, what is reported."""

from __future__ import annotations

import pytest
from PIL import Image

from tests.helpers.videos import patterned, write_video

CLIPS = ("--frames", "4", "--rate", "8", "--resolution", "16", "--licence", "CC0", "-q")
NEEDED = "--frames, --rate and --resolution, such as --frames 16 --rate 8 --resolution 64"


@pytest.fixture
def videos(tmp_path):
    write_video(tmp_path / "videos" / "left" / "a.mp4", patterned(8))
    write_video(tmp_path / "videos" / "right" / "b.mp4", patterned(8, seed=1))
    return tmp_path / "videos"


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "a.png")
    return tmp_path / "photos"


def test_what_is_packed_and_what_is_left(videos, tmp_path, cli):
    write_video(videos / "left" / "short.mp4", patterned(2))
    (videos / "right" / "script.mp4").write_bytes(b"ffconcat version 1.0\nfile b.mp4\n")
    code, out, err = cli("data", "pack", videos, tmp_path / "out", *CLIPS, "--no-val")
    assert code == 0 and out.splitlines() == [
        f"{videos}: folder of 4 videos; labels: folders (left, right); captions: none",
        f"{tmp_path}/out: 2 train; 2 classes; 1 broken video skipped; 1 too short for a clip (--short loop and --short "
        "hold pack them)",
    ]
    assert f"skipped: {videos}/right/script.mp4: not a video that can be read" in err
    assert f"too short: {videos}/left/short.mp4: has 0.25 s; a clip of 4 frames at 8 a second has 0.5 s" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--frames", "8"), "--frames needs --rate, the frames a second, such as --frames 16 --rate 8"),
        (("--rate", "8"), "--rate is for clips of videos and needs --frames, such as --frames 16 --rate 8"),
        (("--lossless",), "--lossless is for clips of videos and needs --frames and --rate"),
        (("--clips", "all"), "--clips is for clips of videos and needs --frames and --rate"),
        (("--frames", "4", "--rate", "8", "--clips", "x"), "--clips must be a whole number or all, not 'x'"),
        (("--frames", "1", "--rate", "8"), "--frames must be from 2 to 4096, not 1"),
    ],
)
def test_options(videos, cli, options, message):
    code, _, err = cli("data", "pack", videos, "out", *options)
    assert code == 2 and message in err


def test_the_other_kind(videos, photos, tmp_path, cli):
    code, _, err = cli("data", "pack", videos, tmp_path / "out", "--licence", "CC0")
    assert code == 2
    assert f"{videos}: holds videos (such as left/a.mp4), not images; to pack clips of them, add {NEEDED}" in err
    code, _, err = cli("data", "pack", photos, tmp_path / "out", *CLIPS)
    leave = "to pack them, leave out --frames, --rate and the other options of clips"
    assert code == 2 and f"{photos}: holds images (such as a.png), not videos; {leave}" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [(), CLIPS])
def test_both_kinds(videos, photos, tmp_path, cli, options):
    (photos / "b.mp4").write_bytes((videos / "left" / "a.mp4").read_bytes())
    code, _, err = cli("data", "pack", photos, tmp_path / "out", *options)
    found = f"{photos}: holds images (such as a.png) and videos (such as b.mp4), and either could be the data"
    images = "For the images, remove the videos and give no --frames"
    assert code == 2 and found in err and images in err and f"for the videos, remove the images and add {NEEDED}" in err


BOTH = "list.csv: holds images (such as b.png) and videos (such as a.mp4)"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("video,caption\na.mp4,x\n", (), "list.csv: holds videos (such as a.mp4), not images"),
        ("path,caption\na.mp4,x\n", (), "list.csv: holds videos (such as a.mp4), not images"),
        ("image,caption\na.png,x\n", CLIPS, "list.csv: holds images (such as a.png), not videos"),
        (
            "path,caption\na.mp4,x\nb.png,y\n",
            CLIPS,
            "list.csv: holds images (such as b.png) and videos (such as a.mp4)",
        ),
        ("path,caption\na.mp4,x\nb.png,y\n", (), BOTH),
        ("clip,caption\nmy a,x\n", CLIPS, "no column of video paths; its columns are 'clip', 'caption'"),
        ("video_url,caption\nhttp://x.org/a.mp4,x\n", CLIPS, "which are not downloaded (video2dataset does so"),
        ("video,caption\nhttp://x.org/a.mp4,x\n", CLIPS, "videos are not downloaded (video2dataset does so)"),
    ],
)
def test_tables(tmp_path, cli, text, options, message):
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    code, _, err = cli("data", "pack", tmp_path / "list.csv", tmp_path / "out", *options)
    assert code == 2 and message in " ".join(err.split())


def test_a_column_of_videos_by_name(videos, tmp_path, cli):
    (videos / "list.csv").write_text("where,caption\nleft/a.mp4,x\n", encoding="utf-8")
    code, out, _ = cli("data", "pack", videos / "list.csv", tmp_path / "out", *CLIPS, "--video", "where", "--no-val")
    assert code == 0 and "table of 1 video; labels: none; captions: 1" in out


def test_nothing_is_a_traceback(tmp_path, cli):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"")
    code, _, err = cli("data", "pack", tmp_path / "videos", tmp_path / "out", *CLIPS)
    assert code == 2 and "the only video is broken" in err and "Traceback" not in err
    code, _, err = cli("data", "pack", tmp_path / "videos" / "a.mp4", tmp_path / "out", *CLIPS)
    assert code == 2 and "Traceback" not in err
