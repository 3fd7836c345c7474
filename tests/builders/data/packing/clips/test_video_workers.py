"""Worker processes: a video that takes too long or kills its worker is named, and no process is left."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time

import psutil
import pytest

from builders.data.errors import PackError
from builders.data.packing.clips.encode import encode_video
from builders.data.packing.clips.settings import ClipSettings
from builders.data.packing.clips.workers import encode_videos
from builders.data.packing.shard import PackSettings
from builders.data.packing.source import Source
from tests.helpers.paths import ROOT
from tests.helpers.video_work import work
from tests.helpers.videos import patterned, write_video


def sources(names):
    return [Source(name, f"/videos/{name}.mp4", "mp4") for name in names.split()]


def settings(deadline=60.0):
    return PackSettings(clips=ClipSettings(4, 8, deadline=deadline))


def test_bad_videos_are_named_and_their_workers_replaced(monkeypatch):
    monkeypatch.setattr("builders.data.packing.clips.workers.GRACE", 0.0)
    names = "a endless b deadly c"
    found = list(encode_videos(sources(names), settings(deadline=0.3), 1, work))
    assert [video.state for video in found] == ["short", "unread", "short", "broken", "short"]
    assert found[1].problem == "/videos/endless.mp4: takes longer than 0.3 s; raise --deadline to wait longer"
    assert found[3].problem == "/videos/deadly.mp4: the decoder crashed"
    processes = [video.problem.split()[1] for video in (found[0], found[2], found[4])]
    assert len({*processes}) == 3 and multiprocessing.active_children() == []


def test_results_come_in_order_and_as_without_workers(tmp_path):
    videos = [Source(str(n), str(tmp_path / f"{n}.mp4"), "mp4") for n in range(5)]
    for number, source in enumerate(videos):
        write_video(tmp_path / f"{number}.mp4", patterned(8 - number, seed=number))
        assert source.is_file
    alone = list(encode_videos(videos, settings(), 0))
    assert (
        list(encode_videos(videos, settings(), 2)) == alone == [encode_video(source, settings()) for source in videos]
    )
    assert [video.state for video in alone] == ["clips"] * 5


@pytest.mark.parametrize("workers", [0, 1])
def test_without_pyav_the_pack_ends(workers):
    with pytest.raises(PackError, match="^install PyAV$"):
        list(encode_videos(sources("a lacking"), settings(), workers, work))
    assert multiprocessing.active_children() == []


def test_workers_end_when_the_pack_is_stopped():
    running = encode_videos(sources("a endless"), settings(), 2, work)
    next(running)
    running.close()
    assert multiprocessing.active_children() == []


def test_workers_end_when_the_pack_is_killed():
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from tests.builders.data.packing.clips.test_video_workers import encode_videos, settings, sources, work
if __name__ == "__main__":
    for video in encode_videos(sources("a endless endless"), settings(), 2, work):
        print(video.problem, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("a ")
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        assert len(workers) >= 2
        end = time.monotonic() + 20
        while any(worker.is_running() and worker.status() != "zombie" for worker in workers):
            assert time.monotonic() < end
            time.sleep(0.02)
