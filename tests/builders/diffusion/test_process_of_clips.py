"""The diffusion process of clips: against the paper's numbers, and as that of the same values without frames."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from builders.diffusion.losses import sample_losses, snr_weights
from builders.diffusion.process import DiffusionProcess, add_noise, eps_loss, pyramid, v_loss, v_target
from builders.diffusion.steps import ddim_step, ddpm_step, dpm_solver_step, limit_x0
from specs.blocks.size import Size
from specs.schemas.recipe import LossSpec
from tests.helpers.golden_formula import tensor
from tests.helpers.graphs import clip_entry, plain_entry
from tests.helpers.paths import GOLDEN

NUMBERS = json.loads((GOLDEN / "video-process.json").read_text())
ARRAYS = np.load(GOLDEN / "video-process.npz")


def golden_entry(name):
    return clip_entry(*zip(NUMBERS[name]["sizes"], NUMBERS[name]["frames"], strict=True))


@pytest.mark.parametrize("name", NUMBERS)
def test_pyramids_and_noise_levels_of_the_paper(name):
    case, entry = NUMBERS[name], golden_entry(name)
    outer = entry.levels[0].size
    levels = pyramid(tensor(f"dev:pyramid-{name}:video", (2, 3, outer.frames, outer.side, outer.side)), entry)
    for index, level in enumerate(levels):
        expected = ARRAYS[f"pyramid-{name}/x{index}"]
        assert level.shape == expected.shape
        np.testing.assert_allclose(level.numpy(), expected, atol=1e-6, rtol=0)
    assert [level.size.ratio(entry.levels[-1].size) for level in entry.levels] == case["scales"]
    found = [each.item() for each in DiffusionProcess(entry).alpha_bar(case["t"] + 1)]
    np.testing.assert_allclose(found, case["gamma"], atol=1e-6, rtol=0)


def test_an_inner_level_sees_the_first_frame_of_each_group():
    entry = clip_entry((8, 12), (4, 12), (4, 4), (2, 1))
    x = torch.arange(12.0)[:, None, None].expand(2, 3, 12, 8, 8)
    levels = pyramid(x, entry)
    assert [tuple(level.shape[1:]) for level in levels] == [(3, 12, 8, 8), (3, 12, 4, 4), (3, 4, 4, 4), (3, 2, 2)]
    assert levels[1][0, 0, :, 0, 0].tolist() == list(range(12))
    assert levels[2][0, 0, :, 0, 0].tolist() == [0, 3, 6, 9] and levels[3].abs().max() == 0
    pair, first = pyramid(x[:, :, 5:7], clip_entry((8, 2), (8, 1)))
    assert pair[0, 0, :, 0, 0].tolist() == [5, 6] and first.shape == (2, 3, 8, 8) and (first == 5).all()


def test_frames_are_averaged_as_images():
    """Also from larger sides; the frames of a clip lie one after the other in memory."""
    x = tensor("clips", (2, 3, 4, 16, 16))
    clips, images = pyramid(x, clip_entry((4, 4), (2, 1)))
    for frame in range(4):
        torch.testing.assert_close(clips[:, :, frame], pyramid(x[:, :, frame], plain_entry(4))[0], atol=0, rtol=0)
    torch.testing.assert_close(images, pyramid(x[:, :, 0], plain_entry(2))[0], atol=0, rtol=0)
    assert clips.transpose(1, 2).is_contiguous()


def test_images_follow_the_clips_in_levels_of_one_frame():
    entry = clip_entry((8, 4), (8, 2), (8, 1), (4, 1))
    clips, images = tensor("clips", (2, 3, 4, 8, 8)), tensor("images", (3, 3, 16, 16))
    levels = pyramid(clips, entry, images)
    assert [len(level) for level in levels] == [2, 2, 5, 5]
    for found, alone in zip(levels, pyramid(clips, entry), strict=True):
        torch.testing.assert_close(found[:2], alone, atol=0, rtol=0)
    for found, alone in zip(levels[2:], pyramid(images, plain_entry(8, 4)), strict=True):
        torch.testing.assert_close(found[2:], alone, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("shape", "sizes", "message"),
    [
        ((1, 3, 16, 8, 8), [(8, 4), (8, 1)], "level r8f4 takes clips of 4 frames, not clips of 16 frames"),
        ((1, 3, 2, 8, 8), [(8, 4), (8, 1)], "level r8f4 takes clips of 4 frames, not clips of 2 frames"),
        ((1, 3, 8, 8), [(8, 4), (8, 1)], "level r8f4 takes clips of 4 frames, not images"),
        ((1, 3, 4, 8, 8), [(8, 1)], "level r8 takes images, not clips of 4 frames"),
        ((1, 3, 4, 12, 12), [(8, 4), (8, 1)], "12 pixels cannot be averaged to 8"),
    ],
)
def test_clips_that_do_not_fit(shape, sizes, message):
    with pytest.raises(ValueError, match=message):
        pyramid(torch.zeros(shape), clip_entry(*sizes))


def test_images_that_do_not_fit_beside_clips():
    clips = torch.zeros(1, 3, 4, 8, 8)
    with pytest.raises(ValueError, match=r"clips takes images, not the shape \(1, 3, 4, 8, 8\)"):
        pyramid(clips, clip_entry((8, 4), (8, 1)), clips)
    with pytest.raises(ValueError, match="clips has no level of one frame"):
        pyramid(clips, clip_entry((8, 4), (8, 2)), clips[:, :, 0])
    with pytest.raises(ValueError, match="6 pixels cannot be averaged to 4"):
        pyramid(clips, clip_entry((8, 4), (4, 1)), torch.zeros(1, 3, 6, 6))


@pytest.mark.parametrize(("size", "inner"), [(Size(64, 16), Size(64)), (Size(48, 6), Size(16, 2)), (Size(9), Size(3))])
def test_ratio_is_the_root_of_the_ratio_of_values(size, inner):
    assert size.ratio(inner) == pytest.approx(math.sqrt(size.positions / inner.positions), rel=1e-15)


def test_noise_and_losses_of_clips_are_those_of_their_values():
    """A clip is a row of as many values; laid out as one tall image, it gives the same numbers."""
    x, eps, guess = (tensor(name, (3, 2, 4, 5, 5)) for name in ("x", "eps", "v"))
    flat = [value.flatten(2, 3) for value in (x, eps, guess)]
    g = torch.tensor([0.1, 0.5, 0.9])
    for function in (add_noise, v_target):
        torch.testing.assert_close(function(x, eps, g).flatten(2, 3), function(*flat[:2], g), atol=0, rtol=0)
    for loss in (v_loss, eps_loss):
        assert loss(guess, x, eps, g).shape == (3,)
        torch.testing.assert_close(loss(guess, x, eps, g), loss(flat[2], *flat[:2], g))
        torch.testing.assert_close(loss(guess, x, eps, g.reshape(3, 1, 1, 1)), loss(flat[2], *flat[:2], g))


def test_losses_by_label():
    """Levels of clips and of images, with fewer clips than images."""
    process = DiffusionProcess(clip_entry((4, 4), (4, 1)))
    shapes = [(2, 3, 4, 4, 4), (5, 3, 4, 4)]
    images, eps, guess = ([tensor(f"{name}{shape}", shape) for shape in shapes] for name in ("x", "eps", "v"))
    t = torch.tensor([3, 400, 10, 700, 999])
    assert [z.shape for z in process.add_noise(images, eps, t)] == [x.shape for x in images]
    loss = LossSpec(space="v")
    found = sample_losses(guess, images, eps, t, process, loss, snr_weights(process, "none"))
    assert {label: tuple(each.shape) for label, each in found.items()} == {"r4f4": (2,), "r4": (5,)}
    row = (guess[0][1] - v_target(images[0][1], eps[0][1], float(process.schedules[0][401]))).square().mean()
    torch.testing.assert_close(found["r4f4"][1], row)


def test_a_clip_has_one_threshold():
    """One frame with values above 1 scales all frames of its clip, and no other clip."""
    x0 = torch.full((2, 1, 4, 2, 2), 0.5)
    x0[0, :, 2] = 4.0
    limited = limit_x0(x0, dynamic_threshold=1.0)
    torch.testing.assert_close(limited[0, 0, :, 0, 0], torch.tensor([0.125, 0.125, 1.0, 0.125]))
    torch.testing.assert_close(limited[1], x0[1])


def test_thresholds_of_very_large_clips(monkeypatch):
    """torch.quantile takes at most 2^24 values; others get the same quantile in another way."""
    x0 = 3 * tensor("large", (2, 3, 4, 5, 5))
    expected = [limit_x0(x0, dynamic_threshold=q) for q in (0.3, 0.995, 1.0)]
    monkeypatch.setattr("builders.diffusion.steps.MOST_VALUES", 10)
    for q, values in zip((0.3, 0.995, 1.0), expected, strict=True):
        torch.testing.assert_close(limit_x0(x0, dynamic_threshold=q), values)


@pytest.mark.parametrize("step", [ddim_step, ddpm_step, dpm_solver_step])
def test_steps_of_clips_are_those_of_their_frames(step):
    z, v, noise, before = (tensor(name, (2, 3, 4, 5, 5)) for name in ("z", "v", "noise", "before"))
    g_t, g_s, g_before = torch.tensor(0.3), torch.tensor(0.6), torch.tensor(0.2)

    def take(index):
        if step is dpm_solver_step:
            return step(z[index], v[index], g_t, g_s, (before[index], g_before))
        options = {"eta": 0.5} if step is ddim_step else {}
        return step(z[index], v[index], g_t, g_s, noise=noise[index], **options)

    clips = take(slice(None))
    for frame in range(4):
        images = take((slice(None), slice(None), frame))
        for clip, image in zip(clips, images, strict=True):
            torch.testing.assert_close(clip[:, :, frame], image, atol=0, rtol=0)
