"""What is measured while training: the held-out loss of every level, and a grid of samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from builders.data.images import Images
from builders.diffusion.process import DiffusionProcess, pyramid, v_loss
from builders.networks.nested_unet import NestedUNet
from builders.pictures import sample_grid
from builders.pixels import to_float
from builders.sampling.generation import Request, SamplerSettings, draw_all
from builders.sampling.nearest import nearest_to_levels
from builders.text.encoder import TextEncoder, is_empty

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["draw_grid", "held_out_losses", "most_compared"]

#: So many images at most are looked through for the one nearest to a sample, and no more bytes of float32 of them.
COMPARED, COMPARED_BYTES = 5000, 2**30
#: Captions are drawn of so many images, the first ones.
CAPTIONED = 64
#: So many held-out images at most are measured, the first ones.
MOST_HELD_OUT = 2048


@torch.no_grad()
def held_out_losses(
    model: NestedUNet,
    process: DiffusionProcess,
    data: Images,
    batch_size: int = 64,
    draws: int = 1,
    seed: int = 0,
    encoder: TextEncoder | None = None,
) -> dict[str, float]:
    """Mean v loss of every level on held-out images, with the same times and noise whenever it is asked.

    Times are spread evenly over the schedule, so that the mean has little noise of its own.

    Args:
        model: the network.
        process: its process.
        data: the images.
        batch_size: rows at once.
        draws: how often each image is used.
        seed: of times and noise.
        encoder: of captions, for a network that reads text.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    sums = dict.fromkeys(model.labels, 0.0)
    count = min(len(data), MOST_HELD_OUT)
    total = count * draws
    times = ((torch.arange(total) + 0.5) / total * process.steps).long()[torch.randperm(total, generator=generator)]
    seen = 0
    for _ in range(draws):
        for batch in _first(data, batch_size, count):
            images = [x.to(device) for x in pyramid(batch["image"], model.graph)]
            rows = images[0].shape[0]
            t = times[seen : seen + rows].to(device)
            seen += rows
            eps = [torch.randn(x.shape, generator=generator).to(device) for x in images]
            conditions = {"classes": batch["classes"].to(device)} if model.graph.classes is not None else {}
            if any(micro.name == "scale" for level in model.graph.levels for micro in level.micro):
                conditions["scale"] = batch["scale"].to(device)
            if encoder is not None:
                states, mask = encoder(batch["caption"])
                conditions |= {"text": states.to(device), "text_mask": mask.to(device)}
            predictions = model(process.add_noise(images, eps, t), t, **conditions)
            for label, v, x, noise, schedule in zip(
                model.labels, predictions, images, eps, process.schedules, strict=True
            ):
                sums[label] += v_loss(v, x, noise, schedule[t + 1]).sum().item()
    model.train(was_training)
    return {label: value / total for label, value in sums.items()}


def _first(data: Images, batch_size: int, count: int) -> Iterator[dict[str, Any]]:
    """Batches of the first ``count`` images."""
    for batch in data.in_order(batch_size):
        rows = min(count, len(batch["image"]))
        yield {name: value[:rows] for name, value in batch.items()}
        count -= rows
        if not count:
            return


def draw_grid(
    model: NestedUNet,
    data: Images,
    *,
    count: int = 10,
    num_inference_steps: int = 25,
    guidance_scale: float = 2.0,
    seed: int = 0,
    encoder: TextEncoder | None = None,
) -> Image:
    """Samples of every level, one a class or caption as far as they go, the nearest training image beside each.

    Captions are those of the first images that have one.
    """
    captions, classes, prompts = [f"seed {seed + row}" for row in range(count)], None, None
    if model.graph.classes is not None:
        names = data.card.classes
        classes = tuple(row % model.graph.classes for row in range(count))
        captions = [names[index] if len(names) == model.graph.classes else f"class {index}" for index in classes]
    elif encoder is not None:
        known = _captions(data) or [""]
        captions = [known[row % len(known)] for row in range(count)]
        prompts = tuple(captions)
    request = Request(tuple(range(seed, seed + count)), classes, prompts)
    steps = min(num_inference_steps, model.graph.process.steps)
    settings = SamplerSettings(num_inference_steps=steps, guidance_scale=guidance_scale)
    levels = draw_all(model, request, settings, encoder=encoder)
    side = model.graph.resolution
    images, texts = data.first(most_compared(side))
    indices = nearest_to_levels(levels, images)
    return sample_grid(levels, captions, to_float(images[indices]), [texts[index] for index in indices.tolist()])


def most_compared(side: int) -> int:
    """How many images of so many pixels a side are looked through for the nearest; bounds memory."""
    return max(1, min(COMPARED, COMPARED_BYTES // (12 * side**2)))


def _captions(data: Images) -> list[str]:
    """Different captions of the first images, without empty ones."""
    return [caption for caption in dict.fromkeys(data.first(CAPTIONED)[1]) if not is_empty(caption)]
