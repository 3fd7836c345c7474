"""Packing of clips: sources, captions and labels, how many clips, equal bytes, resumption."""

from __future__ import annotations

import hashlib
import json
import tarfile

import pytest
import yaml

from builders.data.packing.clips import run
from builders.data.packing.clips.settings import ClipSettings
from builders.data.packing.pack import pack
from builders.data.packing.shard import PackSettings
from builders.data.packing.source import PackError
from builders.data.packing.sources import find_sources
from builders.video.pyav import decode_clip
from tests.helpers.videos import grey_levels, numbered, patterned, write_video


def pack_videos(source, out, clips=ClipSettings(4, 8), **options):  # noqa: B008
    settings = PackSettings(**{"resolution": 16, "val": False, "clips": clips} | options)
    return pack(find_sources(source, videos=True), out, "mine", settings)


def members(out):
    found = {}
    for path in sorted(out.glob("*.tar")):
        with tarfile.open(path) as tar:
            found |= {info.name: tar.extractfile(info).read() for info in tar}
    return found


def facts(out):
    return {name[:-5]: json.loads(content) for name, content in members(out).items() if name.endswith(".json")}


def levels(out, key):
    return grey_levels(decode_clip(members(out)[f"{key}.mp4"], key).frames)


@pytest.fixture
def videos(tmp_path):
    """Two folders of classes, with captions beside some videos."""
    root = tmp_path / "videos"
    write_video(root / "left" / "a.mp4", patterned(8, 32, 24, seed=1))
    write_video(root / "left" / "b.mov", patterned(5, seed=2), form="mov")
    write_video(root / "right" / "c.webm", patterned(6, seed=3), codec="libvpx", form="webm")
    (root / "left" / "a.txt").write_text("a square", encoding="utf-8")
    (root / "right" / "c.json").write_text('{"caption": "back"}', encoding="utf-8")
    return root


def test_a_folder_of_classes(videos, tmp_path):
    found = pack_videos(videos, tmp_path / "out")
    assert found.samples == {"train": 3} and found.classes == ("left", "right") and found.broken == found.short == ()
    assert facts(found.folder)["left/a"] == {
        "caption": "a square", "category": "left", "group": "left/a", "frames": 4, "rate": 8, "start": 0.25,
        "scale": 24, "sha256": hashlib.sha256(members(found.folder)["left/a.mp4"]).hexdigest(),
    }  # fmt: skip
    assert facts(found.folder)["right/c"]["caption"] == "back" and "caption" not in facts(found.folder)["left/b"]
    card = yaml.safe_load((found.folder / "dataset.yaml").read_text(encoding="utf-8"))
    assert (card["resolution"], card["frames"], card["rate"]) == (16, 4, 8) and card["encoder"].startswith("PyAV 1")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", "video,caption,label\nleft/a.mp4,one,x\nright/c.webm,two,y\n"),
        ("list.jsonl", '{"path": "left/a.mp4", "caption": "one", "label": "x"}\n'
                       '{"path": "right/c.webm", "caption": "two", "label": "y"}\n'),
        ("metadata.csv", "file_name,text,label\nleft/a.mp4,one,x\nright/c.webm,two,y\n"),
    ],
)  # fmt: skip
def test_tables(videos, tmp_path, name, text):
    (videos / name).write_text(text, encoding="utf-8")
    found = pack_videos(videos if name.startswith("meta") else videos / name, tmp_path / "out")
    assert {key: (fact["caption"], fact["category"]) for key, fact in facts(found.folder).items()} == {
        "left/a": ("one", "x"), "right/c": ("two", "y")
    }  # fmt: skip


def test_frames_are_those_of_their_times(tmp_path):
    """24 frames a second, of which each third is taken from the middle of the video."""
    write_video(tmp_path / "videos" / "a.mp4", numbered(24), 24, options={"crf": "8"})
    found = pack_videos(tmp_path / "videos", tmp_path / "out", ClipSettings(4, 8))
    assert facts(found.folder)["a"]["start"] == 0.25 and levels(found.folder, "a") == [6, 9, 12, 15]


def test_several_clips_of_a_video(tmp_path):
    write_video(tmp_path / "videos" / "a.mp4", numbered(20), options={"crf": "8"})
    two = pack_videos(tmp_path / "videos", tmp_path / "two", ClipSettings(4, 8, clips=2), val=True)
    assert {key: fact["start"] for key, fact in facts(two.folder).items()} == {"a/0000": 0.375, "a/0001": 1.625}
    assert {fact["group"] for fact in facts(two.folder).values()} == {"a"} and len(two.samples) == 1
    every = pack_videos(tmp_path / "videos", tmp_path / "all", ClipSettings(4, 8, clips=None))
    assert [levels(every.folder, f"a/000{n}") for n in range(5)] == [[*range(4 * n, 4 * n + 4)] for n in range(5)]


def test_a_video_that_is_called_like_a_clip(tmp_path):
    for name in ("a.mp4", "a/0001.mp4"):
        write_video(tmp_path / "videos" / name, numbered(8))
    with pytest.raises(PackError, match=r"a/0001\.mp4: is called like a clip of .*a\.mp4; rename one of them"):
        pack_videos(tmp_path / "videos", tmp_path / "out", ClipSettings(4, 8, clips=2))


def test_short_videos_are_skipped_and_named_or_lengthened(tmp_path):
    write_video(tmp_path / "videos" / "long.mp4", numbered(8))
    path = tmp_path / "videos" / "short.mp4"
    write_video(path, numbered(3), options={"crf": "8"})
    found = pack_videos(tmp_path / "videos", tmp_path / "out", ClipSettings(6, 8))
    assert found.samples == {"train": 1} and found.broken == ()
    assert found.short == (f"{path}: has 0.375 s; a clip of 6 frames at 8 a second has 0.75 s",)
    assert pack_videos(tmp_path / "videos", tmp_path / "out", ClipSettings(6, 8)).short == found.short, "also resumed"
    for short, expected in (("loop", [0, 1, 2, 0, 1, 2]), ("hold", [0, 1, 2, 2, 2, 2])):
        out = pack_videos(tmp_path / "videos", tmp_path / short, ClipSettings(6, 8, short=short)).folder
        assert levels(out, "short") == expected
    with pytest.raises(PackError) as error:
        pack_videos(tmp_path / "videos", tmp_path / "none", ClipSettings(16, 8))
    assert str(error.value) == (
        f"2 videos are too short: {path.with_name('long.mp4')}: has 1 s; a clip of 16 frames at 8 a second has 2 s; "
        f"{path}: has 0.375 s; a clip of 16 frames at 8 a second has 2 s. Choose fewer --frames or a higher --rate, "
        "or add --short loop or --short hold"
    )


def test_lossless_clips(tmp_path):
    frames = patterned(4, 16, 16)
    write_video(tmp_path / "videos" / "a.mp4", frames, codec="libx264rgb", pixels="rgb24", options={"qp": "0"})
    out = pack_videos(tmp_path / "videos", tmp_path / "out", ClipSettings(4, 8, lossless=True)).folder
    assert (decode_clip(members(out)["a.mp4"], "a").frames == frames).all()


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"resolution": 12}, (12, 12)),
        ({"resolution": 12, "resize": "fit"}, (12, 16)),
        ({"resolution": None}, (24, 32)),
        ({"resolution": 15}, (15, 15)),
    ],
)
def test_resizing(tmp_path, options, shape):
    write_video(tmp_path / "videos" / "a.mp4", patterned(4, 32, 24))
    out = pack_videos(tmp_path / "videos", tmp_path / "out", **options).folder
    assert decode_clip(members(out)["a.mp4"], "a").frames.shape == (4, *shape, 3)


def test_equal_sources_give_equal_bytes_and_finished_shards_stay(videos, tmp_path):
    first = pack_videos(videos, tmp_path / "first", samples_per_shard=1)
    before = {path.name: path.read_bytes() for path in first.folder.glob("*.tar")}
    second = pack_videos(videos, tmp_path / "second", samples_per_shard=1)
    assert before == {path.name: path.read_bytes() for path in second.folder.glob("*.tar")} and len(before) == 3
    assert pack_videos(videos, first.folder, samples_per_shard=1).kept == 3
    write_video(videos / "left" / "b.mov", patterned(7, seed=9), form="mov")
    again = pack_videos(videos, first.folder, samples_per_shard=1)
    after = {path.name: path.read_bytes() for path in first.folder.glob("*.tar")}
    assert again.kept == 2 and sum(after[name] != content for name, content in before.items()) == 1
    with pytest.raises(PackError, match="holds a pack of other videos or settings; choose another folder or empty it"):
        pack_videos(videos, first.folder, ClipSettings(2, 8), samples_per_shard=1)


def test_another_encoder_packs_again(videos, tmp_path, monkeypatch):
    pack_videos(videos, tmp_path / "out")
    monkeypatch.setattr("builders.data.packing.clips.run.pyav_version", lambda: "99")
    assert pack_videos(videos, tmp_path / "out").kept == 0


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (ClipSettings(1, 8), "--frames must be from 2 to 4096, not 1"),
        (ClipSettings(8, 0), "--rate: the rate must be above 0 and at most 1000 frames a second, not 0"),
        (ClipSettings(8, 8, clips=0), "--clips must be from 1 to 1000, or all, not 0"),
        (ClipSettings(8, 8, short="cut"), "--short must be one of skip, loop, hold, not 'cut'"),
        (ClipSettings(8, 8, deadline=0), "--deadline must be a number of seconds above 0, not 0"),
    ],
)
def test_settings_out_of_range(tmp_path, clips, message):
    with pytest.raises(PackError) as error:
        pack([], tmp_path / "out", "mine", PackSettings(clips=clips))
    assert str(error.value) == message


def test_an_interrupted_pack_goes_on_where_it_was(videos, tmp_path, monkeypatch):
    real, count = run.pack_clips, []

    def stopping(*given):
        if count:
            raise KeyboardInterrupt
        count.append(given)
        return real(*given)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run, "pack_clips", stopping)
        pack_videos(videos, tmp_path / "out", samples_per_shard=1)
    assert not (tmp_path / "out" / "dataset.yaml").exists()
    assert pack_videos(videos, tmp_path / "out", samples_per_shard=1).kept == 1
    whole = pack_videos(videos, tmp_path / "whole", samples_per_shard=1)
    assert members(tmp_path / "out") == members(whole.folder)
