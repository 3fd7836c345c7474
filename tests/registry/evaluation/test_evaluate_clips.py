"""Evaluation of video entries: levels of clips and of images, each under its own protocol; and the command line."""

from __future__ import annotations

import json

import pytest
import torch

import zoo
from builders.checkpoints.weights import save_weights
from registry.evaluation.clip_sets import clip_set, open_clips
from registry.evaluation.evaluate import evaluate_levels
from registry.evaluation.evaluate_clips import count_motions, evaluate_clips
from registry.evaluation.feature_cache import reference_moments
from registry.evaluation.features import EvaluationError
from registry.evaluation.image_sets import open_images
from registry.evaluation.levels import level_sizes
from registry.evaluation.measure import measure
from registry.evaluation.results import Protocol, find, measurements
from specs.blocks.size import Size
from specs.schemas.evaluation import EvaluationSpec
from tests.helpers.clips import clip_samples
from tests.helpers.measured import PROTOCOL, extractor
from tests.helpers.moving_clips import moving_squares
from tests.helpers.shards import write_tar

SPEC = EvaluationSpec(samples=9, num_inference_steps=1, features="made_up", split="val")
ENTRY = """
name: micro-clips
resolution: 8
frames: 4
defaults: {resnet: {groups: 2}, temporal_conv: {groups: 2}}
head: {groups: 2}
stages:
  r8f4: {width: 4, blocks: [resnet, temporal_conv]}
  r4f1: {width: 4}
nest:
  resolution: 4
  inputs: {classes: 9}
  defaults: {resnet: {groups: 2}}
  head: {groups: 2}
  middle: []
  stages:
    r4: {width: 4}
"""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        # Rendering takes longer than all else.
        patch.setattr("registry.evaluation.clip_sets.MOST", 18)
        patch.setattr("registry.evaluation.image_sets.MOST", 18)
        patch.setattr("registry.evaluation.measure.open_features", lambda *a, **k: extractor())
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "entry.yaml"
    path.write_text(ENTRY)
    model = zoo.build(path)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.05, generator=torch.Generator().manual_seed(parameter.numel()))
    save_weights(path.with_name("w.safetensors"), model.graph, model.state_dict(), {"data": "moving-emoji"})
    return path.with_name("w.safetensors")


@pytest.fixture(scope="module")
def measured(weights, tmp_path_factory):
    from registry.evaluation.measure import measure_levels

    folder = tmp_path_factory.mktemp("measured")
    return measure_levels(str(weights), SPEC, levels=("r4", "r8f4"), folder=folder), folder


def test_levels_are_measured_apart(measured):
    (clips, clips_path), (images, images_path) = measured[0]
    assert list(clips.metrics)[:3] == ["fd_changes_made_up", "fd_frames_made_up", "fd_clips_made_up"]
    assert list(images.metrics) == ["kid_made_up", "fd_made_up"]
    assert (clips.protocol.label, images.protocol.label) == ("r8f4", "r4")
    assert clips_path != images_path and clips.conditions != images.conditions
    assert clips.protocol.title == (
        "9 clips against moving-emoji val (18) at 8 px, 4 frames, 2 a second, made_up, resize bicubic, "
        "projection seed 0"
    )
    assert (clips.protocol.samples, clips.protocol.reference_count, clips.protocol.rate) == (9, 18, 2)
    assert (images.protocol.frames, images.protocol.rate, images.protocol.projection_seed) == (1, None, None)
    assert "18 clips" not in clips.warnings[0] and clips.warnings[0].startswith("9 clips: below 5,000")
    for path in (clips_path, images_path):
        assert path.with_suffix(".png").is_file()


def test_samples_that_move_are_counted(measured):
    clips = measured[0][0][0]
    assert {each.samples for each in clips.motions.values()} == {1} and len(clips.motions) == 9
    assert sum(each.reference for each in clips.motions.values()) == 18
    assert clips.metrics["motion_share_reference"].value > 0.7  # at 8 pixels
    assert 0 <= clips.metrics["motion_share"].low <= clips.metrics["motion_share"].value


def test_measurements_are_found_by_level(measured, weights):
    from builders.checkpoints.shipped import file_facts

    content = file_facts(weights)["content"][:16]
    for each, _ in measured[0]:
        assert find("micro-clips", content, SPEC, measured[1], label=each.protocol.label) == each
    assert find("micro-clips", content, SPEC, measured[1], label="r8") is None
    assert {m.protocol.label for m in measurements([measured[1]])} == {"r4", "r8f4"}


def test_protocols_of_images_have_the_keys_they_had():
    assert PROTOCOL.key == "3a5393b74082"
    changes = {"frames": 4, "rate": 8.0, "projection_seed": 0}
    keys = {PROTOCOL.model_copy(update={name: value}).key for name, value in changes.items()}
    assert len(keys | {PROTOCOL.key}) == 4
    old = {name: value for name, value in PROTOCOL.model_dump().items() if name not in changes}
    assert Protocol.model_validate(old) == PROTOCOL


def test_clips_of_one_set_have_one_hash_and_one_cache(cache):
    reference = open_clips("moving-emoji", Size(8, 4), "val", most=6)
    calls = []
    counted = extractor()
    run = counted.run
    object.__setattr__(counted, "run", lambda x: calls.append(len(x)) or run(x))
    first = reference_moments(reference, counted, 0)
    again = reference_moments(open_clips("moving-emoji", Size(8, 4), "val", most=6), counted, 0)
    assert calls == [24] and all((first[kind].mean == again[kind].mean).all() for kind in first)
    reference_moments(reference, counted, 1)  # another projection
    reference_moments(open_clips("moving-emoji", Size(8, 2), "val", most=6), counted, 0)  # other frames
    assert calls == [24, 24, 12]


def test_frozen_clips_are_said_to_be():
    clips = moving_squares(8, 4)
    frozen = clip_set("still", clips[:, :, :1].expand_as(clips))
    found = evaluate_clips(frozen, clip_set("real", moving_squares(8, 4, seed=1)), extractor())
    assert found.warnings[0] == "still: the clips do not move" and found.motions == {}


def test_refusals(weights, tmp_path):
    clips = clip_set("some", moving_squares(3, 4))
    with pytest.raises(EvaluationError, match="some: 1 clip; a distance needs two"):
        evaluate_clips(clip_set("some", moving_squares(1, 4)), clips, extractor())
    with pytest.raises(EvaluationError, match="has clips of 16 pixels, 4 frames, other of 16 pixels, 2 frames"):
        evaluate_clips(clips, clip_set("other", moving_squares(3, 2)), extractor())
    with pytest.raises(EvaluationError, match="micro-clips has no level 'r8'.*r8f4"):
        measure(str(weights), SPEC, level="r8", folder=tmp_path)
    with pytest.raises(ValueError, match="noto-emoji-64 holds images; clips of 4 frames are needed"):
        measure(str(weights), SPEC, reference="noto-emoji-64", folder=tmp_path)


def test_clips_of_unknown_size_are_not_measured_as_images(tmp_path):
    write_tar(tmp_path / "a.tar", clip_samples(4))
    (tmp_path / "dataset.yaml").write_text("name: clips\nframes: 4\nsplits: {train: {shards: [a.tar], samples: 4}}\n")
    with pytest.raises(EvaluationError, match="the side of its clips is not stated; add --resolution"):
        measure(str(tmp_path), SPEC, reference="moving-emoji", folder=tmp_path)
    with pytest.raises(EvaluationError, match="name the clips to compare these with"):
        measure(str(tmp_path), SPEC, resolution=8, folder=tmp_path)


def test_references_of_the_wrong_kind(weights):
    from registry.weights import load_weights

    model, metadata = load_weights(str(weights))
    assert level_sizes(model.graph) == {"r8f4": Size(8, 4)}
    images = open_images("moving-emoji", 4, "val")
    assert images.images.shape == (18, 3, 4, 4)
    with pytest.raises(EvaluationError, match="level r8f4 cannot be compared with moving-emoji"):
        evaluate_levels(model, metadata, {"r8f4": images}, extractor(), SPEC)


def test_motions_of_sets_without_motions():
    clips = moving_squares(2, 4)
    named = clip_set("named", clips, labels=(0, 1), classes=("left", "rocket"))
    assert count_motions(named, named) == {}
    known = clip_set("known", clips, labels=(1, 2), classes=("left", "right"))
    assert known.names == ("right", "") and count_motions(known, known)["left"].samples == 0


def test_command(weights, cli, tmp_path):
    out = tmp_path / "out"
    words = ("evaluate", weights, "--data", "moving-emoji", "--split", "val", "-n", 9, "--steps", 1, "-o", out, "-q")
    code, text, err = cli(*words)
    assert code == 0, err
    assert "fd_changes_made_up" in text and "anticlockwise" in text and "of the reference" in text
    code, text, _ = cli(*words, "--level", "r4", "--level", "r8f4", "--json")
    assert code == 0 and [each["protocol"]["frames"] for each in json.loads(text)] == [4, 1]
    code, text, _ = cli(*words, "--level", "r4", "--json")
    assert code == 0 and json.loads(text)["protocol"]["resolution"] == 4
    code, _, err = cli(*words, "--level", "r16")
    assert code == 2 and "micro-clips has no level 'r16'" in err


def test_distances_of_clips_carry_the_name_of_their_features():
    """Those of Inception too: FID is defined for images."""
    from dataclasses import replace

    inception = replace(extractor(), name="inception", defining=True)
    sets = (clip_set(name, moving_squares(8, 4, seed=seed)) for seed, name in enumerate(("some", "real")))
    assert list(evaluate_clips(*sets, inception).metrics) == [
        "fd_changes_inception", "fd_frames_inception", "fd_clips_inception",
    ]  # fmt: skip
