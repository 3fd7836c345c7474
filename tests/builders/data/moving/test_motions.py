"""Where emoji are in each frame of a clip."""

from __future__ import annotations

import hashlib
import math
from itertools import pairwise

import pytest

from builders.data.moving.motions import FRAMES, MOTIONS, Pose, caption, poses

KEYS = [f"1f{number:03x}" for number in range(40)]


def test_classes_and_captions():
    assert tuple(MOTIONS) == ("still", "left", "right", "up", "down", "clockwise", "anticlockwise", "grow", "shrink")
    assert caption("Rocket", "left") == "Rocket moves to the left"
    assert caption("Rocket", "clockwise") == "Rocket turns clockwise"
    assert caption("Rocket", "grow") == "Rocket grows"
    assert caption("Rocket", "still") == "Rocket stands still"


@pytest.mark.parametrize("motion", MOTIONS)
def test_numbers_are_drawn_within_their_ranges(motion):
    for key in KEYS:
        found = poses(key, motion)
        assert len(found) == FRAMES == 16 and found == poses(key, motion) != poses(key, motion, seed=1)
        first, last = found[0], found[-1]
        if motion in ("grow", "shrink"):
            ratio = last.size / first.size if motion == "grow" else first.size / last.size
            assert 1.6 <= ratio <= 2.2 and 0.45 <= math.sqrt(first.size * last.size) <= 0.55
        else:
            assert {pose.size for pose in found} == {first.size} and 0.45 <= first.size <= 0.55
        turned = (last.angle - first.angle) * (-1 if motion == "anticlockwise" else 1)
        assert first.angle == 0 and (60 <= turned <= 120 if "clockwise" in motion else turned == 0)
        moved = {"left": first.x - last.x, "right": last.x - first.x, "up": first.y - last.y, "down": last.y - first.y}
        for direction, length in moved.items():
            assert direction != motion or 0.35 <= length <= 0.5
        assert math.isclose(first.x + last.x, 1) and math.isclose(first.y + last.y, 1)


@pytest.mark.parametrize("motion", MOTIONS)
def test_motion_is_even_and_stays_in_the_frame(motion):
    for key in KEYS:
        found = poses(key, motion)
        for name in ("x", "y", "angle"):
            values = [getattr(pose, name) for pose in found]
            steps = [after - before for before, after in pairwise(values)]
            assert max(steps) - min(steps) < 1e-12 * 360
        ratios = [after.size / before.size for before, after in pairwise(found)]
        assert max(ratios) - min(ratios) < 1e-12
        for pose in found:
            angle = math.radians(pose.angle)
            half = pose.size / 2 * (abs(math.cos(angle)) + abs(math.sin(angle)))
            assert half - 1e-12 <= min(pose.x, pose.y) and max(pose.x, pose.y) <= 1 - half + 1e-12


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("seed", [0, 5])
def test_poses_are_drawn_from_a_digest(motion, seed):
    digest = hashlib.sha256(f"{seed}:1f600:{motion}".encode()).hexdigest()
    drawn = [int(digest[first : first + 16], 16) / 2**64 for first in (0, 16, 32, 48)]
    size = 0.45 + 0.1 * drawn[0]
    travel = 0.35 + (min(0.5, 1 - size) - 0.35) * drawn[1]
    turn, growth = 60 + 60 * drawn[2], 1.6 + 0.6 * drawn[3]
    found = poses("1f600", motion) if seed == 0 else poses("1f600", motion, seed)
    for frame, pose in enumerate(found):
        time = frame / 15
        x, y, angle = 0.5, 0.5, 0.0
        if motion in ("left", "right"):
            x += (time - 0.5) * travel * (1 if motion == "right" else -1)
        if motion in ("up", "down"):
            y += (time - 0.5) * travel * (1 if motion == "down" else -1)
        if motion in ("clockwise", "anticlockwise"):
            angle = time * turn * (1 if motion == "clockwise" else -1)
        side = {"grow": size * growth ** (time - 0.5), "shrink": size * growth ** (0.5 - time)}.get(motion, size)
        assert (pose.x, pose.y, pose.size, pose.angle) == pytest.approx((x, y, side, angle), rel=1e-12)
    assert Pose() == Pose(0.5, 0.5, 0.5, 0.0)
