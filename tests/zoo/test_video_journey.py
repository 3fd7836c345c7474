"""From ten videos to drawn clips in four commands."""

from __future__ import annotations

import numpy as np
import pytest

from builders.video.pyav import decode_clip
from tests.helpers.videos import write_video

ENTRY = """
name: tiny-v
resolution: 8
frames: 4
defaults: {resnet: {groups: 4}}
head: {groups: 4}
stages: {r8f4: {width: 8}, r8f2: {width: 8}}
nest:
  resolution: 8
  frames: 2
  defaults: {resnet: {groups: 4}, temporal_attention: {heads: 2}}
  head: {groups: 4}
  stages: {r8f2: {width: 8}, r8f1: {width: 8}}
  nest:
    resolution: 8
    inputs: {classes: 2}
    defaults: {resnet: {groups: 4}, attention: {groups: 4, heads: 2}}
    head: {groups: 4}
    stages: {r8: {width: 8}}
"""


@pytest.mark.slow
def test_from_videos_to_clips(tmp_path, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    for number in range(10):
        name, way = (("left", -1), ("right", 1))[number % 2]
        frames = np.full((12, 24, 24, 3), 255, np.uint8)
        for index, frame in enumerate(frames):
            left = 8 + way * (index - 6) // 2
            frame[4 + number : 10 + number, left : left + 8] = (20 * number, 60, 90)
        write_video(tmp_path / "videos" / name / f"{number}.mp4", frames, 12)
    (tmp_path / "tiny-v.yaml").write_text(ENTRY, encoding="utf-8")
    commands = [
        "data pack videos data --frames 4 --rate 4 --resolution 8 --licence CC0 -q",
        "data inspect data --sheet sheet.png -q",
        "train ./tiny-v.yaml --data ./data --classes auto --steps 3 --output run --no-track",
        "sample run --count 1 --steps 2 --output samples -q",
    ]
    for command in commands:
        code, out, err = cli(*command.split())
        assert code == 0, (command, out, err)
        assert "train" not in command or out.endswith("zoo sample run/ema.safetensors -o samples\n")
    assert (tmp_path / "sheet.png").is_file() and (tmp_path / "samples" / "grid.png").is_file()
    clips = sorted((tmp_path / "samples" / "r8f4").glob("*.mp4"))
    assert len(clips) == 2 and decode_clip(clips[0].read_bytes(), "a").frames.shape[0] == 4
