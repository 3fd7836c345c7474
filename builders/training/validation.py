"""Validation during training: the loss of every level on the validation split, and a grid of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from builders.data.images import Images
from builders.diffusion.process import DiffusionProcess
from builders.networks.nested_unet import NestedUNet
from builders.sampling.defaults import GUIDANCE, fit_settings
from builders.sampling.generation import Request, SamplerSettings, draw_all
from builders.sampling.grid import Grid, grid_of_samples
from builders.sampling.nearest import most_compared
from builders.text.encoder import TextEncoder, is_empty
from builders.training.held_out.measure import HeldOut
from builders.training.sharding.drawing import draw_together
from specs.schemas.held_out import ValidationSpec
from specs.schemas.recipe import DropSpec

if TYPE_CHECKING:
    from PIL.Image import Image

    from builders.training.distributed import Processes

__all__ = ["draw_grid", "draw_samples", "log_snr_errors", "most_compared", "validation_losses"]

#: Number of training images whose captions are used as prompts.
CAPTIONED = 64


def validation_losses(
    model: NestedUNet,
    process: DiffusionProcess,
    data: Images,
    batch_size: int = 64,
    draws: int | None = None,
    seed: int = 0,
    encoder: TextEncoder | None = None,
    spec: ValidationSpec | None = None,
    **sharing: Any,
) -> dict[str, float]:
    """Return the mean v loss of every level on validation images or clips, with the same times and noise in every call.

    The time and noise of a sample depend on its key, so that entries of other levels and shifts see the same ones.

    Args:
        model: Network.
        process: Diffusion process of the network.
        data: Validation images or clips. Levels inside those of clips are measured on what they see of the clips.
        batch_size: Images or frames per batch.
        draws: Number of times each image or clip is used. Default: that of ``spec``.
        seed: Seed of times and noise.
        encoder: Text encoder, for a network that reads text.
        spec: Number of samples and draws. Default: ``ValidationSpec()``.
        sharing: Arguments ``part``, ``total`` and ``precision`` of
            :class:`builders.training.held_out.measure.HeldOut`.
    """
    spec = spec or ValidationSpec()
    if draws is not None:
        spec = spec.model_copy(update={"draws": draws})
    return HeldOut(model, process, data, spec, encoder, batch_size=batch_size, seed=seed, **sharing).v_losses()


def log_snr_errors(
    model: NestedUNet,
    process: DiffusionProcess,
    data: Images,
    encoder: TextEncoder | None = None,
    spec: ValidationSpec | None = None,
    **sharing: Any,
) -> dict[str, float]:
    """Return the mean squared error of the clean prediction at fixed log-SNRs, by level and ratio: ``r64/-5``.

    The arguments are those of :func:`validation_losses`. Flat and nested entries and other shifts can be compared.
    """
    found = HeldOut(model, process, data, spec, encoder, **sharing).errors()
    return {f"{label}/{ratio:g}": error for label, each in found.items() for ratio, error in each.items()}


def draw_samples(
    model: NestedUNet,
    data: Images,
    *,
    count: int = 10,
    num_inference_steps: int = 25,
    guidance_scale: float | None = None,
    drop: DropSpec | None = None,
    seed: int = 0,
    encoder: TextEncoder | None = None,
    processes: Processes | None = None,
    precision: str = "auto",
) -> Grid | None:
    """Draw a grid of samples at every level, each with the training image or clip nearest to it.

    Samples cycle through the classes, or through the different captions of the first training images or clips.

    Args:
        model: Network.
        data: Training images, or clips of the outermost level's size.
        count: Number of samples.
        num_inference_steps: Sampling steps, at most those of the process.
        guidance_scale: Guidance scale; 1 for no guidance. Default: 2, or 1 if the network is not trained for guidance.
        drop: Probabilities of dropping the conditions in training. Default: not known.
        seed: Seed of the first sample. Each sample has its own.
        encoder: Text encoder, for a network that reads text.
        processes: Processes that draw together, each a share of the samples. Default: this one alone.
        precision: Precision of activations: "auto", "float32" or "bfloat16"; "float16" is as "auto".

    Returns:
        The grid; None in processes that are not the main one.
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
    chosen: dict[str, Any] = {"precision": "auto" if precision == "float16" else precision}
    chosen |= {} if guidance_scale is None else {"guidance_scale": guidance_scale}
    shares = None if drop is None else drop.model_dump()
    settings = fit_settings(
        SamplerSettings(num_inference_steps=steps, **chosen), model.graph, shares, guidance=GUIDANCE, warn=False
    )
    if processes is None:
        levels = draw_all(model, request, settings, encoder=encoder)
    else:
        parts = draw_together(model, request, settings, processes=processes, encoder=encoder)
        batches = [images for _, images in parts]
        if not processes.main:
            return None
        levels = [torch.cat(level) for level in zip(*batches, strict=True)]
    return grid_of_samples(levels, captions, data.first(most_compared(model.graph.resolution, model.graph.frames)))


def draw_grid(model: NestedUNet, data: Images, **options: Any) -> Image:
    """Draw the contact sheet of :func:`draw_samples`, which has the same arguments."""
    grid = draw_samples(model, data, **options)
    assert grid is not None
    return grid.sheet


def _captions(data: Images) -> list[str]:
    """Return the different captions of the first images, without empty ones."""
    return [caption for caption in dict.fromkeys(data.first(CAPTIONED)[1]) if not is_empty(caption)]
