"""Samplers of clips, on models whose samples are known: as samplers of images of each frame."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from builders.blocks.frames import as_clips, as_rows
from builders.diffusion.process import DiffusionProcess
from builders.networks.conditioning import Context
from builders.sampling import generation, sampler
from builders.sampling.generation import Request, SamplerSettings, draw, draw_all
from builders.sampling.sampler import _generators, initial_noise, sample
from specs.load import load_entry
from tests.helpers.graphs import clip_entry, plain_entry

CLIPS = clip_entry((8, 4), (4, 4), (4, 1))
METHODS = [{}, {"eta": 0.5}, {"sampler": "ddpm"}, {"sampler": "dpm++"}, {"dynamic_threshold": 0.9}]


class Known(nn.Module):
    """Predicts the v of images whose colour is that of the context, and of clips that fade from it to its opposite."""

    def __init__(self, graph=CLIPS):
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self.graph, self.labels, self.device = graph, graph.labels, torch.device("cpu")
        self.process = DiffusionProcess(graph)
        self.rows = []

    def encode(self, classes=None):
        values = torch.zeros(1) if classes is None else classes / 10
        return context(values.tolist(), self.labels)

    def forward(self, z, t, context):
        self.rows.append(len(z[0]))
        colour = context.levels[self.labels[0]][0]
        return [
            (g[t + 1].sqrt() * x - self.clean(x, colour)) / (1 - g[t + 1]).sqrt()
            for x, g in zip(z, self.process.schedules, strict=True)
        ]

    @staticmethod
    def clean(x, colour):
        if x.dim() == 4:
            return colour[:, :, None, None].expand(x.shape)
        fade = torch.linspace(1, -1, x.shape[2])[:, None, None]
        return (colour[:, :, None, None, None] * fade).expand(x.shape)


class PerFrame(nn.Module):
    """A small network that sees every frame, or image, on its own."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3, generator=generator)

    def forward(self, z, t, context):
        return [as_clips(torch.tanh(self.conv(as_rows(x)) + t / 1000), x) for x in z]


def context(values, labels):
    """A context with one number per sample."""
    return Context({label: (torch.tensor(values)[:, None],) for label in labels})


@pytest.mark.parametrize("options", METHODS)
def test_ends_at_the_predicted_clip(options):
    model = Known()
    found = sample(
        model, context([0.5, -0.25], CLIPS.labels), model.process, seeds=[0, 1], num_inference_steps=5, **options
    )
    assert [tuple(x.shape) for x in found] == [(2, 3, 4, 8, 8), (2, 3, 4, 4, 4), (2, 3, 4, 4)]
    for level in found:
        torch.testing.assert_close(level, model.clean(level, torch.tensor([[0.5], [-0.25]])), atol=1e-5, rtol=0)


@pytest.mark.parametrize("options", METHODS[:4])
def test_a_clip_of_independent_frames_is_its_images(options, monkeypatch):
    """The same noise, once as a clip and once as images, gives the same frames."""
    model, source = PerFrame(), torch.Generator()

    def run(graph, rows):
        source.manual_seed(7)
        drawn = sample(
            model, context([0.0], ["r"]), DiffusionProcess(graph), seeds=range(rows), num_inference_steps=6, **options
        )
        return drawn[0]

    def noise(generators, shape, device, offset):
        rows = torch.randn(8, 3, 5, 5, generator=source)
        return rows if len(shape) == 3 else as_clips(rows, torch.empty(2, *shape))

    monkeypatch.setattr(sampler, "_noise", noise)
    clips, images = run(clip_entry((5, 4)), 2), run(plain_entry(5), 8)
    assert images.std() > 0.1
    torch.testing.assert_close(as_rows(clips), images, atol=1e-6, rtol=0)


def test_an_image_level_starts_from_its_own_noise():
    """Also inside a level of clips; a seed gives a clip the same noise in any batch."""
    image = load_entry("mdm-nano").graph
    still = image.inner("r16")
    around = clip_entry((32, 8), (16, 8), (16, 1))
    noise = [
        initial_noise(DiffusionProcess(graph), [_generators(seed, len(graph.levels)) for seed in (5, 6)], "cpu")
        for graph in (around, still)
    ]
    assert [tuple(x.shape) for x in noise[0]] == [(2, 3, 8, 32, 32), (2, 3, 8, 16, 16), (2, 3, 16, 16)]
    torch.testing.assert_close(noise[0][2], noise[1][0], atol=0, rtol=0)
    alone = initial_noise(DiffusionProcess(around), [_generators(6, 3)], "cpu")
    for level, row in zip(noise[0], alone, strict=True):
        torch.testing.assert_close(level[1:], row, atol=0, rtol=0)
        assert abs(row.mean()) < 0.2 and 0.8 < row.std() < 1.2
    assert not torch.equal(noise[0][1][0, :, 0], noise[0][2][0])


def test_guidance_of_clips():
    model = Known()
    drawn = sample(
        model,
        context([0.25], CLIPS.labels),
        model.process,
        seeds=[0],
        num_inference_steps=4,
        unconditional=context([-0.25], CLIPS.labels),
        guidance_scale=2.0,
    )
    for level in drawn:
        torch.testing.assert_close(level, model.clean(level, torch.tensor([[0.75]])), atol=1e-5, rtol=0)
    assert model.rows == [2] * 4


def test_batches_count_the_frames(monkeypatch):
    monkeypatch.setattr(generation, "BATCH_PIXELS", 8 * 8 * 4 * 2 + 1)
    model = Known()
    request, settings = Request(range(5), classes=[0, 1, 2, 3, 4]), SamplerSettings(num_inference_steps=2)
    steps, seen = [], []
    batches = list(
        draw(
            model,
            request,
            settings,
            progress=steps.append,
            preview=lambda rows, number, levels: seen.append((rows, number, tuple(levels[0].shape))),
        )
    )
    assert [rows for rows, _ in batches] == [range(2), range(2, 4), range(4, 5)] and steps == [2, 2, 2, 2, 1, 1]
    assert seen[:2] == [(range(2), number, (2, 3, 4, 8, 8)) for number in (1, 2)]
    whole = draw_all(model, request, settings)
    assert [tuple(x.shape) for x in whole] == [(5, 3, 4, 8, 8), (5, 3, 4, 4, 4), (5, 3, 4, 4)]
    assert whole[0][4, 0, :, 0, 0].tolist() == pytest.approx([0.4, 0.4 / 3, -0.4 / 3, -0.4], abs=1e-5)
