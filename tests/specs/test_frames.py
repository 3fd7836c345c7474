"""Levels with frames: labels, sizes, canonical and expanded forms, and nesting in time."""

from __future__ import annotations

import pytest

from specs.blocks import Size
from specs.errors import SpecError
from specs.graph import EntryGraph, canonical_level
from specs.load import expanded_yaml, load_text

#: A level of 8 frames of 16 pixels around one of 8 frames of 8 pixels.
CLIPS = """
name: clips
resolution: 16
frames: 8
head: {groups: 8}
defaults: {resnet: {groups: 8}}
stages: {r16: {width: 8}, r8: {width: 8}}
nest:
  resolution: 8
  frames: 8
  head: {groups: 8}
  defaults: {resnet: {groups: 8}, attention: {groups: 8}}
  stages: {r8: {width: 8}}
"""


def graph(text: str, *overrides: str) -> EntryGraph:
    return load_text(text, overrides=overrides).graph


def test_size_of_a_level():
    entry = graph(CLIPS)
    assert entry.labels == ("r16f8", "r8f8") and entry.is_video
    assert (entry.frames, entry.resolution, entry.size) == (8, 16, Size(16, 8))
    assert [level.size for level in entry.levels] == [Size(16, 8), Size(8, 8)]
    assert repr(entry.levels[1]) == "<LevelGraph r8f8: 8 px, 8 frames, 6 nodes>"
    assert "clips: 16 px, 8 frames, levels r16f8, r8f8, hash" in repr(entry)


def test_label_of_a_size():
    assert (Size(64).label, Size(64, 16).label) == ("r64", "r64f16")
    assert Size(64, 16).ratio(Size(16)) == 16 and Size(8).ratio(Size(8)) == 1


def test_one_frame_is_an_image_level():
    image = graph(CLIPS, "frames=1", "nest.frames=1")
    without = graph("\n".join(line for line in CLIPS.splitlines() if "frames" not in line))
    assert image.hash == without.hash and not image.is_video
    assert image.labels == ("r16", "r8")
    assert "frames" not in canonical_level(image.levels[0]) and "frames" not in expanded_yaml(image)


def test_frames_are_in_the_hash_and_in_the_expanded_form():
    entry = graph(CLIPS)
    assert canonical_level(entry.levels[0])["frames"] == 8
    assert entry.hash != graph(CLIPS, "frames=4", "nest.frames=4").hash
    assert graph(expanded_yaml(entry)) == entry


@pytest.mark.parametrize("frames", ["0", "4097", "two", "true", "2.0"])
def test_frames_out_of_range(frames):
    with pytest.raises(SpecError, match="frames"):
        graph(CLIPS, f"frames={frames}")
