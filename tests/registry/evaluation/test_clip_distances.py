"""Distances between sets of clips: what each of them notices, in made-up features; and in those of a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from registry.evaluation.clip_distances import clip_distances, clip_moments, do_not_move
from registry.evaluation.clip_features import KINDS, changes, clip_rows, joined
from registry.evaluation.distances import FrechetReference
from registry.evaluation.features import EvaluationError
from registry.evaluation.moments import Moments
from tests.helpers.moving_clips import blurred, changed, frame_map, moving_squares


@pytest.fixture(scope="module")
def clips():
    return moving_squares(120)


@pytest.fixture(scope="module")
def features(clips):
    return frame_map()(clips[:60])


@pytest.fixture(scope="module")
def reference(clips):
    return clip_moments([frame_map()(clips[60:90]), frame_map()(clips[90:])])


@pytest.fixture(scope="module")
def real(features, reference):
    return clip_distances(features, reference)


def test_real_clips_are_near_their_null(clips, features, reference, real):
    # Halves of the real clips are about as far from one another, at the same count.
    for kind in KINDS:
        assert real[kind].low < real[kind].value < real[kind].high
    other = clip_distances(frame_map()(clips[60:]), clip_moments([features]))
    for kind in KINDS:
        assert other[kind].low < real[kind].high and real[kind].low < other[kind].high


@pytest.mark.parametrize("what", ["shuffled", "frozen", "spliced"])
def test_changes_notice(features, reference, real, what):
    found = clip_distances(changed(features)[what], reference)["fd_changes"]
    assert found.value > real["fd_changes"].high


def test_frames_notice_blur_and_not_order(clips, features, reference, real):
    assert clip_distances(frame_map()(blurred(clips[:60])), reference)["fd_frames"].low > real["fd_frames"].high
    for what in ("shuffled", "reversed"):
        found = clip_distances(changed(features)[what], reference)["fd_frames"]
        assert found.value == pytest.approx(real["fd_frames"].value, rel=1e-6)


def test_clips_notice_frames_of_other_clips(features, reference, real):
    # The frames of the other half belong to other clips, which the order of frames alone does not tell.
    found = {what: clip_distances(each, reference)["fd_clips"].value for what, each in changed(features).items()}
    assert found["spliced"] > real["fd_clips"].value and found["frozen"] > real["fd_clips"].high


def test_no_distance_sees_the_direction_of_time_in_changes(features, reference, real):
    found = clip_distances(changed(features)["reversed"], reference)["fd_changes"]
    assert found.value == pytest.approx(real["fd_changes"].value)


def test_frozen_clips_have_a_distance_and_are_noticed(features, reference):
    frozen = changed(features)["frozen"]
    assert do_not_move(frozen) and not do_not_move(features)
    moments = reference["fd_changes"]
    expected = moments.mean @ moments.mean + np.trace(moments.covariance)
    found = clip_distances(frozen, reference)["fd_changes"]
    assert (found.value, found.low, found.high) == (pytest.approx(expected),) * 3
    with pytest.raises(EvaluationError, match="reference: the clips do not move"):
        clip_distances(features, clip_moments([frozen]))


def test_rows(features):
    some = features[:3]
    rows = clip_rows(some, 5)
    by_hand = [np.mean([np.abs(clip[t + 1] - clip[t]) for t in range(7)], 0) for clip in some]
    assert rows["fd_changes"] == pytest.approx(np.stack(by_hand), rel=1e-5)
    assert rows["fd_frames"].shape == (24, 32) and (rows["fd_frames"][8] == some[1, 0]).all()
    assert rows["fd_clips"].shape == (3, 32)
    # The frames from the first to the last, each through the same matrix.
    matrix = np.random.RandomState(5).standard_normal((32, 8)) / np.sqrt(32)
    assert rows["fd_clips"][1] == pytest.approx(np.concatenate([some[1, t] @ matrix for t in (0, 2, 5, 7)]))
    assert (joined(some, 5) == joined(some, 5)).all() and not np.allclose(joined(some, 5), joined(some, 6))
    assert joined(some[:, :2]).shape == (3, 16) and changes(some[:, :2]).shape == (3, 32)


def test_resampling_takes_clips_with_all_their_frames(features):
    # Frames of a clip are alike: were they resampled alone, the interval would be too narrow.
    alike = np.repeat(features[:, :1], 8, 1).reshape(-1, 32) + np.random.RandomState(0).normal(size=(480, 32)) * 1e-3
    known = FrechetReference(features[:, 4])
    alone, together = known.interval(alike), known.interval(alike, together=8)
    assert together.value == alone.value
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def made_up(count: int, seed: int) -> np.ndarray:
    """Features of 3 frames of each clip."""
    return np.random.default_rng(seed).normal(size=(count, 3, 8)).astype(np.float32) + 1


@pytest.mark.parametrize("seed", [0, 3])
def test_distances_are_those_of_the_rows(seed):
    """Frames are drawn by clips; the projection of joined frames has the same seed on both sides."""
    features, others = made_up(12, 0), made_up(9, 1)
    found = clip_distances(features, clip_moments([others[:4], others[4:]], seed), seed, replicates=7)
    assert list(found) == list(KINDS)
    for kind, rows in clip_rows(features, seed).items():
        known = FrechetReference(Moments.of(clip_rows(others, seed)[kind]))
        expected = known.interval(rows, 7, together=3 if kind == "fd_frames" else 1, checked=False)
        values = (expected.value, expected.low, expected.high)
        assert (found[kind].value, found[kind].low, found[kind].high) == pytest.approx(values, rel=1e-6)


def test_defaults_of_distances():
    features, known = made_up(12, 0), clip_moments([made_up(9, 1)])
    assert clip_distances(features, known) == clip_distances(features, known, 0, 100)
    assert clip_distances(features, known) != clip_distances(features, known, 0, 101)
    assert known["fd_clips"].mean == pytest.approx(joined(made_up(9, 1), 0).mean(0))
    assert clip_distances(features, known)["fd_clips"] != clip_distances(features, known, 1)["fd_clips"]


@pytest.mark.parametrize(
    ("first", "second", "still"),
    [
        ([0, 0], [0, 0], True),
        ([1, 2], [1, 2], True),
        ([1, -5], [1, -5 + 4e-5], True),
        ([1, -5], [1, -5 - 6e-5], False),
        ([-5, 1], [-6, 1], False),
    ],
)
def test_what_does_not_move(first, second, still):
    """Differences of up to 1e-5 of the largest feature are rounding."""
    features = np.array([[first, first], [first, second]], dtype=np.float64)
    assert do_not_move(features) is still


@pytest.mark.parametrize(("change", "frames"), [([0, 0], [0, 0]), ([0, 4e-5], [-5, 1])])
def test_references_that_do_not_move(change, frames):
    known = {
        "fd_changes": Moments(9, np.array(change), np.eye(2)),
        "fd_frames": Moments(9, np.array(frames), np.eye(2)),
    }
    with pytest.raises(EvaluationError, match="^reference: the clips do not move$"):
        clip_distances(made_up(9, 1), known)


def test_references_of_which_one_feature_moves():
    known = clip_moments([np.concatenate((made_up(9, 1)[..., :7], np.ones((9, 3, 1))), 2)])
    assert clip_distances(made_up(12, 0), known)["fd_changes"].value > 0


def test_moments_by_hand():
    found = Moments.of(np.array([[1, 2], [3, 8]], dtype=np.uint8))
    assert found.count == 2 and found.mean.tolist() == [2, 5]
    assert found.scatter.tolist() == found.covariance.tolist() == [[2, 6], [6, 18]]
    both = found + Moments.of(np.array([[5, 2]]))
    assert both.count == 3 and both.mean.tolist() == [3, 4]
    assert both.scatter.tolist() == [[8, 0], [0, 24]] and both.covariance.tolist() == [[4, 0], [0, 12]]
    assert Moments.of(np.array([[1.5, 2]])).covariance.tolist() == [[0, 0], [0, 0]]


def test_moments_add_up(features):
    rows = features.reshape(-1, 32).astype(np.float64)
    found = Moments.of(rows[:7]) + Moments.of(rows[7:8]) + Moments.of(rows[8:])
    assert found.count == len(rows) and found.mean == pytest.approx(rows.mean(0))
    assert found.covariance == pytest.approx(np.cov(rows, rowvar=False))
    by_moments, by_rows = FrechetReference(found), FrechetReference(rows)
    assert by_moments.distance(rows[:40]) == pytest.approx(by_rows.distance(rows[:40]), rel=1e-9)


@pytest.mark.parametrize(
    ("moments", "message"),
    [
        (Moments.of(np.ones((1, 3))), "reference: 1 samples"),
        (Moments.of(np.ones((5, 3))), "reference: all samples have the same features"),
        (Moments(3, np.full(3, np.nan), np.ones((3, 3))), "reference: features that are not finite"),
    ],
)
def test_refused_moments(moments, message):
    with pytest.raises(EvaluationError, match=message):
        FrechetReference(moments)


def test_copies_of_a_few_clips_are_refused(features, reference):
    with pytest.raises(EvaluationError, match="copies of a few images"):
        clip_distances(np.broadcast_to(features[:1, :1], features.shape), reference)


@pytest.mark.slow
def test_moving_emoji_in_features_of_a_network(capsys):
    """The table of docs/measuring.md: pytest -m slow tests/registry/evaluation/test_clip_distances.py."""
    from registry.evaluation.clip_sets import open_clips
    from registry.evaluation.feature_cache import frame_features
    from registry.evaluation.features import open_features
    from specs.blocks.size import Size

    clips = torch.cat(list(open_clips("moving-emoji", Size(32, 8), most=80).batches()))
    extractor = open_features()

    def phi(clips):
        return np.concatenate(list(frame_features(extractor, iter(clips.split(4)))))

    features, others = phi(clips[:40]), phi(clips[40:])
    reference = clip_moments([others])
    sets = {"real": features, **changed(features), "blurred": phi(blurred(clips[:40]))}
    found = {name: clip_distances(each, reference) for name, each in sets.items()}
    with capsys.disabled():
        for name, kinds in found.items():
            print(name, {k: f"{d.value:.4g} ({d.low:.4g} to {d.high:.4g})" for k, d in kinds.items()})
    real = found["real"]
    for name in ("shuffled", "frozen", "spliced"):
        assert found[name]["fd_changes"].value > real["fd_changes"].high
    assert found["blurred"]["fd_frames"].value > 1.05 * real["fd_frames"].value
    assert found["spliced"]["fd_clips"].value > real["fd_clips"].high
    for name in ("shuffled", "reversed"):
        assert found[name]["fd_frames"].value == pytest.approx(real["fd_frames"].value, rel=1e-4)
