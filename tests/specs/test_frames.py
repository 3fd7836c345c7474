"""Levels with frames: labels, sizes, canonical and expanded forms, micro inputs of outer levels, and notes."""

from __future__ import annotations

import pytest

from specs.blocks import Size
from specs.errors import SpecError
from specs.graph import EntryGraph, canonical_level
from specs.load import expanded_yaml, load_entry, load_spec, load_text

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
  stages: {r8: {width: 16}}
"""


def graph(text: str, *overrides: str) -> EntryGraph:
    return load_text(text, overrides=overrides).graph


def test_size_of_a_level():
    entry = graph(CLIPS)
    assert entry.labels == ("r16f8", "r8f8") and entry.is_video
    assert (entry.frames, entry.resolution, entry.size) == (8, 16, Size(16, 8))
    assert [level.size for level in entry.levels] == [Size(16, 8), Size(8, 8)]
    assert repr(entry.levels[1]) == "<LevelGraph r8f8: 8 px, 8 frames, 7 nodes>"
    assert "clips: 16 px, 8 frames, levels r16f8, r8f8, hash" in repr(entry)
    assert "<td>16 px, 8 frames</td>" in entry._repr_html_()


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
    loaded = load_text(CLIPS)
    assert canonical_level(loaded.graph.levels[0])["frames"] == 8
    assert loaded.graph.hash != graph(CLIPS, "frames=4", "nest.frames=4").hash
    assert graph(expanded_yaml(loaded)) == loaded.graph == load_spec(loaded.spec).graph


@pytest.mark.parametrize("frames", ["0", "4097", "two", "true", "2.0"])
def test_frames_out_of_range(frames):
    with pytest.raises(SpecError, match="frames"):
        graph(CLIPS, f"frames={frames}")


def test_frames_are_inherited_by_extends_and_not_by_nest(tmp_path):
    (tmp_path / "clips.yaml").write_text(CLIPS)
    (tmp_path / "more.yaml").write_text("name: more\nextends: clips\nresolution: 32\nstages: {r16: null, r32: null}\n")
    (tmp_path / "longer.yaml").write_text("name: longer\nextends: clips\nframes: 16\nnest: {frames: 16}\n")
    (tmp_path / "inside.yaml").write_text(
        "name: inside\nresolution: 32\nframes: 8\nnest: clips\nstages: {r32: {width: 32}, r16: {width: 32}}\n"
    )
    folders = [tmp_path]
    assert load_entry("longer", search=folders).graph.labels == ("r16f16", "r8f16")
    inside = load_entry("inside", search=folders).graph
    clips = load_entry("clips", search=folders).graph
    assert inside.labels == ("r32f8", "r16f8", "r8f8")
    assert [inside.graph_hashes[label] for label in clips.labels] == list(clips.graph_hashes.values())
    with pytest.raises(SpecError, match="a level of 1 frame cannot nest one of 8"):
        load_entry("inside", search=folders, overrides=["frames=1"])
    with pytest.raises(SpecError):
        load_entry("more", search=folders)


AROUND = """
name: around
resolution: 16
frames: 4
inputs: {frame_rate: {}, blur: {default: 0.5}, age: {default: 2}}
stages: {r16f4: {width: 32}, r16f2: {width: 32}, r16f1: {width: 32}}
nest:
  resolution: 16
  inputs: {age: {}, scale: {}}
  stages: {r16: {width: 32}}
"""


def test_micro_input_of_an_outer_level_alone():
    entry = graph(AROUND)
    outer, inner = entry.levels
    assert [(each.name, each.default) for each in inner.micro] == [("age", 1.0), ("scale", 16.0)]
    assert [(each.name, each.default) for each in outer.micro] == [
        ("age", 2.0),
        ("scale", 16.0),
        ("frame_rate", 30.0),
        ("blur", 0.5),
    ]
    assert entry.graph_hashes["r16"] == graph("name: a" + AROUND.split("nest:")[1].replace("\n  ", "\n")).graph_hash
    assert graph(expanded_yaml(entry)).hash == entry.hash


def test_micro_input_of_a_middle_level_reaches_the_levels_around_it():
    text = AROUND.replace("name: around", "  x:").replace("\n", "\n  ").replace("x:", "")
    whole = "name: outer\nresolution: 32\nframes: 4\nstages: {r32: {width: 32}, r16: {width: 32}}\nnest:\n" + text
    names = [[micro.name for micro in level.micro] for level in graph(whole).levels]
    assert names == [["age", "scale", "frame_rate", "blur"], ["age", "scale", "frame_rate", "blur"], ["age", "scale"]]


@pytest.mark.parametrize("name", ["Blur", "stem"])
def test_name_of_an_outer_micro_input(name):
    with pytest.raises(SpecError, match="bad-name"):
        graph(AROUND.replace("blur", name))


def test_notes_on_temporal_blocks_of_one_frame():
    text = AROUND.replace("r16f1: {width: 32}", "r16f1: {width: 32, temporal: 1}")
    (note,) = load_text(text).notes
    blocks = ", ".join(f"r16f1_{unit}_temporal_attention" for unit in ("down0", "up0", "up1"))
    assert note == f"level r16f4: temporal blocks at one frame act as a feed-forward at each place: {blocks}"
    assert load_text(text, overrides=["stages.r16f1.depth=2"]).notes[0].endswith("and 2 more")
    assert load_text(AROUND).notes == ()


def test_notes_on_levels_that_mix_no_frames():
    assert load_text(CLIPS).notes == ()  # the middle of the inner level does
    notes = load_text(CLIPS, overrides=["nest.middle=[resnet]"]).notes
    assert notes == tuple(
        f"level {label}: nothing mixes its frames, so each is generated as an image of its own"
        for label in ("r16f8", "r8f8")
    )
