"""The plain implementation that the zoo is measured against computes the same."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from benchmarks.baseline.diffusion import ddim, even_times, guided
from benchmarks.baseline.layers import einsum_attention, fused_attention
from benchmarks.baseline.loading import PlainImages
from benchmarks.baseline.network import PlainUNet, load_from
from benchmarks.suite.inputs import conditions, graph_of, randomized
from builders.data.open import open_dataset
from builders.data.packing.pack import PackSettings, pack
from builders.data.packing.sources import find_sources
from builders.diffusion.process import DiffusionProcess
from builders.networks.nested_unet import build_model
from builders.sampling.sampler import SamplerSettings, sample
from specs.load import load_text
from tests.helpers.networks import noise

WITH_ALL = """
name: with-all
resolution: 32
defaults: {resnet: {groups: 8}, attention: {groups: 8, heads: 2, feed_forward: true}}
head: {groups: 8}
process: {schedule: cosine}
stages:
  r32: {width: 16}
  r16: {width: 16}
nest:
  resolution: 16
  inputs: {classes: 3, scale: {}, text: {width: 24, tokens: 5, project: 16, self_attention: 1, mask_attention: true}}
  defaults: {resnet: {groups: 8}, attention: {groups: 8, heads: 2, feed_forward: true}}
  head: {groups: 8}
  stages:
    r16: {width: 16}
    r8: {width: 16, attention: 1}
"""


def both(graph, attend=einsum_attention):
    """The network of the zoo and the plain one, with the same random weights."""
    zoo = randomized(build_model(graph)).eval()
    return zoo, load_from(PlainUNet(graph, attend), zoo.state_dict()).eval()


@pytest.mark.parametrize("attend", [einsum_attention, fused_attention])
@pytest.mark.parametrize("name", ["mdm-micro", "mdm-nano.text", "doll-n32", "with-all"])
def test_predictions_are_equal(name, attend):
    graph = load_text(WITH_ALL).graph if name == "with-all" else graph_of(name)
    zoo, plain = both(graph, attend)
    z, given = noise(graph, 3), conditions(graph, 3, "cpu")
    if name == "with-all":
        given |= {"scale": torch.tensor([8.0, float("nan"), 64.0])}
        given["text_mask"][0, 2:] = False
        given["text_mask"][1] = False
    t = torch.tensor([10, 500, 990])
    with torch.no_grad():
        for x, y in zip(zoo(z, t, **given), plain(z, t, **given), strict=True):
            torch.testing.assert_close(y, x, rtol=1e-5, atol=1e-5)


def test_predictions_of_fewer_rows_are_equal():
    graph = graph_of("mdm-micro")
    zoo, plain = both(graph)
    z, given = noise(graph, [1, 3]), conditions(graph, 3, "cpu")
    with torch.no_grad():
        for x, y in zip(zoo(z, [1, 2, 3], **given), plain(z, torch.tensor([1, 2, 3]), **given), strict=True):
            torch.testing.assert_close(y, x, rtol=1e-5, atol=1e-5)


def test_samples_are_equal():
    graph = graph_of("mdm-micro")
    zoo, plain = both(graph)
    given, none = (conditions(graph, 2, "cpu", given=each) for each in (True, False))
    process, seen = DiffusionProcess(graph), []
    hook = zoo.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    settings = SamplerSettings("ddim", 4, guidance_scale=2.0, spacing="index", precision="float32")
    contexts = {"context": zoo.encode(**given), "unconditional": zoo.encode(**none)}
    expected = sample(zoo, process=process, settings=settings, seeds=[0, 1], **contexts)
    hook.remove()
    start = [level[:2] for level in seen[0]]  # of the half with conditions
    found = ddim(guided(plain, given, none, 2.0), start, process.schedules, even_times(1000, 4))
    for x, y in zip(expected, found, strict=True):
        torch.testing.assert_close(y, x, rtol=1e-5, atol=1e-5)


def test_images_are_equal(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(3):
        levels = torch.randint(0, 256, (40, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(index))
        Image.fromarray(levels.numpy()).save(folder / f"{index}.png")
    pack(find_sources(folder), tmp_path / "set", "set", PackSettings(20, val=False))
    images = open_dataset(tmp_path / "set").load(20, memory=False)
    plain = PlainImages(sorted(folder.iterdir()), 20)
    drawn = images.batch(0, 3)
    torch.testing.assert_close(plain.batch(0, 3)[drawn["index"]], drawn["image"], rtol=0, atol=1e-6)
