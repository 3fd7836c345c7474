"""Motions of clips: paths, growth and turning, and whether clips move as their classes say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from builders.data.moving.motions import MOTIONS, poses
from builders.data.open import open_dataset
from registry.evaluation.motion import LEAST, Motions, are_motions, motions_of, names_of
from tests.helpers.moving_clips import blurred


def emoji(resolution: int, frames: int, count: int, split: str = "val"):
    """Clips of ``count`` emoji in all nine motions, the names of their motions, and their keys."""
    data = open_dataset("moving-emoji").load(resolution, split, frames=frames)
    number = len(data) // 9
    chosen = [turn * number + index for index in range(0, number, number // count)[:count] for turn in range(9)]
    clips = torch.stack([torch.from_numpy(data.clip(each).copy()) for each in chosen])
    facts = [data.facts(each) for each in chosen]
    return clips.permute(0, 4, 1, 2, 3), [f["category"] for f in facts], [f["key"].rpartition("-")[0] for f in facts]


@pytest.fixture(scope="module")
def some():
    return emoji(16, 8, 3)


def share(clips, names):
    return sum(found == name for found, name in zip(names_of(motions_of(clips)), names, strict=True)) / len(names)


def test_moving_emoji_move_as_their_class_says(some):
    clips, names, _ = some
    assert sorted(names) == sorted(3 * [*MOTIONS]) and share(clips, names) == 1


def test_what_is_measured_is_what_was_rendered():
    clips, names, keys = emoji(32, 8, 2)
    found = motions_of(clips)
    for row, (key, name) in enumerate(zip(keys, names, strict=True)):
        # Of 16 frames the first, third, ... fifteenth.
        first, last = (poses(key, name)[frame] for frame in (0, 14))
        way = torch.tensor([last.x - first.x, last.y - first.y])
        # A thing that turns about its middle moves the center of its ink.
        turns = name in ("clockwise", "anticlockwise")
        assert (found.path[row] - way).abs().max() < (0.16 if turns else 0.05), (name, key)
        assert found.growth[row] == pytest.approx(math.log(last.size / first.size), abs=0.2), (name, key)
        if name not in ("grow", "shrink"):
            assert found.turn[row] == pytest.approx(last.angle - first.angle, abs=15), (name, key)


def test_changed_clips_do_not_count(some):
    clips, names, _ = some
    order = torch.tensor([5, 2, 7, 0, 4, 6, 1, 3])
    assert share(clips[:, :, order], names) <= 3 / 9
    # Frozen clips stand still, reversed ones move to the other side.
    assert share(clips[:, :, :1].expand_as(clips), names) == pytest.approx(1 / 9)
    assert share(clips.flip(2), names) == pytest.approx(1 / 9)


def test_the_noise_of_a_young_model_does_not_count(some):
    clips, names, _ = some
    noise = torch.randn(clips.shape, generator=torch.Generator().manual_seed(0))
    noisy = (clips.float() + 12 * noise).clamp(0, 255).round().to(torch.uint8)
    assert share(noisy, names) > 0.95 and share(blurred(clips), names) > 0.95
    # Nothing but noise on the ground shows nothing, and so does a clip with an empty frame.
    ground = (255 - 20 * noise.abs()).clamp(210, 255).to(torch.uint8)
    assert set(names_of(motions_of(ground))) == {""}
    empty = clips.clone()
    empty[:, :, 3] = 255
    found = motions_of(empty)
    assert not found.visible.any() and not found.path.any() and not found.growth.any() and not found.turn.any()


def test_things_that_look_alike_after_part_of_a_turn():
    side, frames = 32, 8
    y, x = torch.meshgrid(torch.arange(side) - 15.5, torch.arange(side) - 15.5, indexing="ij")
    radius, angle = (x**2 + y**2).sqrt(), torch.atan2(y, x)

    def star(turn):
        """A star with five points: turned by 72 degrees it is the same."""
        return 255 * (radius > 8 + 3 * torch.cos(5 * (angle - math.radians(turn)))).float()

    def clip(total):
        shown = torch.stack([star(total * frame / (frames - 1)) for frame in range(frames)])
        return shown.expand(1, 3, frames, side, side).to(torch.uint8)

    for total in (-110, -72, 0, 72, 95):
        assert motions_of(clip(total)).turn.item() == pytest.approx(total, abs=5)
    disc = torch.where(radius > 8, 255, 60).expand(1, 3, frames, side, side).to(torch.uint8)
    assert names_of(motions_of(disc)) == ("still",)


def test_least_extents_are_half_of_the_least_of_the_data():
    path, growth, turn = LEAST
    for index in range(40):
        key = f"emoji-{index}"
        right, grow, clockwise = (poses(key, name) for name in ("right", "grow", "clockwise"))
        assert (right[-1].x - right[0].x) / 2 >= path
        assert math.log(grow[-1].size / grow[0].size) / 2 >= growth
        assert (clockwise[-1].angle - clockwise[0].angle) / 2 >= turn


@pytest.mark.parametrize(("darkest", "threshold"), [(255, 0.5), (204, 0.4), (77, 77 / 510)])
def test_paths_and_growths_written_out(darkest, threshold):
    """Least squares over all frames, of ink above a half or, in pale clips, half of the palest frame's darkest ink."""
    drawn = np.random.default_rng(0).integers(0, min(100, darkest), (70, 3, 4, 6, 9), dtype=np.uint8)
    drawn[:, :, :, 2, 3:5] = darkest
    drawn[5:, :, 1:, 4, 6] = 255
    found, ink = motions_of(torch.from_numpy(255 - drawn)), drawn.max(1) / 255
    time = np.linspace(0, 1, 4)
    ink = np.where(ink > threshold, ink, 0)
    mass = ink.sum((2, 3))
    x = (ink * (np.arange(9) + 0.5)).sum((2, 3)) / 9 / mass
    y = (ink * (np.arange(6) + 0.5)[:, None]).sum((2, 3)) / 6 / mass
    for values, expected in ((found.path[:, 0], x), (found.path[:, 1], y), (found.growth, np.log(mass) / 2)):
        assert values.numpy() == pytest.approx(np.polyfit(time, expected.T, 1)[0], abs=1e-5)
    assert found.visible.all() and len(found) == 70


def test_a_thing_of_a_single_pale_pixel():
    clips = torch.full((1, 3, 4, 8, 8), 255, dtype=torch.uint8)
    for frame, ink in enumerate((0.24, 0.32, 0.4, 0.48)):
        clips[:, 0, frame, 3, 2 + frame] = round(255 * (1 - ink))
    found = motions_of(clips)
    assert found.path[0].tolist() == pytest.approx([3 / 8, 0], abs=1e-6) and found.visible.all()
    slope = np.polyfit([0, 1 / 3, 2 / 3, 1], np.log([0.24, 0.32, 0.4, 0.48]), 1)[0]
    assert found.growth.item() == pytest.approx(slope / 2, abs=0.01)


@pytest.mark.parametrize(
    ("path", "growth", "turn", "name"),
    [
        ((-0.2, 0.0), 0.0, 0.0, "left"),
        ((0.2, 0.1), 0.1, 10.0, "right"),
        ((0.0, -0.2), -0.1, -29.0, "up"),
        ((0.2, 0.3), -0.3, 40.0, "down"),
        ((0.0, 0.0), -0.3, 0.0, "shrink"),
        ((0.2, -0.2), 0.3, 31.0, "grow"),
        ((0.0, 0.0), 0.0, -30.0, "anticlockwise"),
        ((-0.3, 0.2), 0.3, 90.0, "clockwise"),
        ((0.0, 0.0), 0.0, 30.0, "clockwise"),
        ((-0.17, 0.17), -0.23, 29.9, "still"),
        ((0.0, 0.0), 0.0, 0.0, "still"),
    ],
)
def test_the_motion_that_exceeds_its_least_extent_by_most(path, growth, turn, name):
    found = Motions(*(torch.tensor([value, value]) for value in (path, growth, turn)), torch.tensor([True, False]))
    assert names_of(found) == (name, "")


def test_which_classes_are_motions():
    assert are_motions(tuple(MOTIONS)) and are_motions(("left", "right"))
    assert not are_motions(()) and not are_motions(("left", "rocket"))


@pytest.mark.slow
@pytest.mark.parametrize(("resolution", "frames"), [(64, 16), (32, 8), (16, 8)])
def test_all_held_out_emoji(resolution, frames, capsys):
    """The shares of docs/measuring.md: pytest -m slow tests/registry/evaluation/test_motion.py."""
    clips, names, _ = emoji(resolution, frames, 189)
    found = names_of(motions_of(clips))
    right = [name for name, moved in zip(names, found, strict=True) if name == moved]
    with capsys.disabled():
        print(f"{resolution} px, {frames} frames: {len(right)} of {len(names)}", {m: right.count(m) for m in MOTIONS})
    assert len(names) == 9 * 189 and len(right) >= 0.98 * len(names)
