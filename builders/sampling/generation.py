"""Many samples from a trained model: in batches that fit into memory, each sample with a seed of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from builders.diffusion.process import DiffusionProcess
from builders.networks.conditioning import Context
from builders.networks.nested_unet import NestedUNet
from builders.sampling.sampler import sample
from builders.text.encoder import TextEncoder

__all__ = ["BATCH_PIXELS", "Preview", "Request", "SamplerSettings", "class_shares", "draw", "draw_all"]

#: Pixels of the highest resolution that are denoised at once; bounds memory.
BATCH_PIXELS = 2**18
#: Told the rows of the request that a batch is, the number of the step from 1, and the clean images predicted there by
#: level, highest resolution first.
Preview = Callable[[range, int, list[Tensor]], object]


@dataclass(frozen=True, slots=True)
class SamplerSettings:
    """How samples are drawn: the arguments of :func:`builders.sampling.sampler.sample`."""

    sampler: str = "ddim"
    num_inference_steps: int = 50
    guidance_scale: float = 1.0
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    eta: float = 0.0
    clip: bool = True
    dynamic_threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What to draw: a seed for each sample and the index of its class, or its prompt, where the model takes some."""

    seeds: tuple[int, ...]
    classes: tuple[int, ...] | None = None
    prompts: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for what, values in (("classes", self.classes), ("prompts", self.prompts)):
            if values is not None and len(values) != len(self.seeds):
                raise ValueError(f"{len(self.seeds)} seeds, but {len(values)} {what}")


def draw(
    model: NestedUNet,
    request: Request,
    settings: SamplerSettings | None = None,
    *,
    encoder: TextEncoder | None = None,
    progress: Callable[[int], object] | None = None,
    preview: Preview | None = None,
) -> Iterator[tuple[range, list[Tensor]]]:
    """Draw samples batch by batch.

    Args:
        model: the network, on the device to draw on.
        request: seeds and classes.
        settings: sampler, steps and guidance.
        encoder: of prompts.
        progress: told after every step of a batch how many samples it holds.
        preview: given the clean images predicted at every step.

    Yields:
        The rows of the request that a batch is, and its images (rows, channels, height, width) in [-1, 1] by level,
        highest resolution first, on the CPU.

    Raises:
        ValueError: unknown sampler, or settings that do not fit.
    """
    settings = settings or SamplerSettings()
    process = DiffusionProcess(model.graph, model.device)
    size = max(1, BATCH_PIXELS // model.graph.resolution**2)
    for start in range(0, len(request.seeds), size):
        rows = range(start, min(start + size, len(request.seeds)))
        with torch.no_grad():
            context, unconditional, scale = _context(model, request, rows, settings.guidance_scale, encoder)
            images = sample(
                model,
                context,
                process,
                seeds=[request.seeds[row] for row in rows],
                unconditional=unconditional,
                method=settings.sampler,  # type: ignore[arg-type]  # checked by sample
                num_inference_steps=settings.num_inference_steps,
                guidance_scale=scale,
                guidance_interval=settings.guidance_interval,
                eta=settings.eta,
                clip=settings.clip,
                dynamic_threshold=settings.dynamic_threshold,
                progress=partial(_tell, progress, preview, rows),
            )
        yield rows, [level.cpu() for level in images]


def draw_all(
    model: NestedUNet,
    request: Request,
    settings: SamplerSettings | None = None,
    *,
    encoder: TextEncoder | None = None,
    progress: Callable[[int], object] | None = None,
) -> list[Tensor]:
    """All samples of a request by level, highest resolution first: (N, channels, height, width) in [-1, 1]."""
    batches = [images for _, images in draw(model, request, settings, encoder=encoder, progress=progress)]
    return [torch.cat(level) for level in zip(*batches, strict=True)]


def class_shares(counts: Sequence[int], number: int) -> tuple[int, ...]:
    """``number`` class indices in the proportions of ``counts``, each rounded by the largest remainder, in order."""
    total = sum(counts)
    exact = [number * count / total for count in counts]
    whole = [int(share) for share in exact]
    by_remainder = sorted(range(len(counts)), key=lambda index: (whole[index] - exact[index], index))
    for index in by_remainder[: number - sum(whole)]:
        whole[index] += 1
    return tuple(index for index, share in enumerate(whole) for _ in range(share))


def _tell(
    progress: Callable[[int], object] | None,
    preview: Preview | None,
    rows: range,
    number: int,
    total: int,
    images: list[Tensor],
) -> None:
    if progress is not None:
        progress(len(rows))
    if preview is not None:
        preview(rows, number, images)


def _context(
    model: NestedUNet, request: Request, rows: range, guidance_scale: float, encoder: TextEncoder | None
) -> tuple[Context, Context | None, float]:
    if request.prompts is not None:
        if encoder is None:
            raise ValueError("prompts need a text encoder")
        states, mask = encoder([request.prompts[row] for row in rows])
        states, mask = states.to(model.device), mask.to(model.device)
        # What training leaves out is zeros under an empty mask.
        without = model.encode(text=torch.zeros_like(states), text_mask=torch.zeros_like(mask))
        return model.encode(text=states, text_mask=mask), without, guidance_scale
    unconditional = model.encode()
    if request.classes is None:
        return unconditional, unconditional, 1.0
    indices = torch.tensor([request.classes[row] for row in rows], device=model.device)
    return model.encode(classes=indices), unconditional, guidance_scale
