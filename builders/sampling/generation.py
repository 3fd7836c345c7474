"""Drawing any number of samples from a trained model, in batches that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from builders.checkpoints.tensor_file import first_not_finite
from builders.diffusion.process import DiffusionProcess
from builders.networks.conditioning import Context
from builders.networks.nested_unet import NestedUNet
from builders.precision import autocast, pick_precision
from builders.sampling.rows import rows_at_once
from builders.sampling.sampler import sample
from builders.text.encoder import TextEncoder
from specs.schemas.sampling import SamplerSettings, SamplerSpec

__all__ = ["BATCH_PIXELS", "Preview", "Request", "SamplerSettings", "class_shares", "draw", "draw_all"]

#: Pixels of the outermost level, of all frames, that are denoised at once on a CPU: about what its caches hold.
BATCH_PIXELS = 2**16
#: Called after each step with the rows of the batch in the request, the number of the step from 1, and the predicted
#: clean images by level, outermost first.
Preview = Callable[[range, int, list[Tensor]], object]


@dataclass(frozen=True, slots=True)
class Request:
    """What to draw. Lists and tensors are taken in place of tuples.

    Attributes:
        seeds: Seed of each sample.
        classes: Class index of each sample, for class-conditional models.
        prompts: Prompt of each sample, for models that read text.
    """

    seeds: tuple[int, ...]
    classes: tuple[int, ...] | None = None
    prompts: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("seeds", "classes", "prompts"):
            object.__setattr__(self, name, _as_tuple(getattr(self, name)))
        for what, values in (("classes", self.classes), ("prompts", self.prompts)):
            if values is not None and len(values) != len(self.seeds):
                raise ValueError(f"{len(self.seeds)} seeds, but {len(values)} {what}")


def _as_tuple(values: Any) -> tuple[Any, ...] | None:
    if values is None or isinstance(values, tuple):
        return values
    if isinstance(values, (str, int)):
        return (values,)
    return tuple(values.tolist() if hasattr(values, "tolist") else values)


def draw(
    model: NestedUNet,
    request: Request,
    settings: SamplerSpec | None = None,
    *,
    encoder: TextEncoder | None = None,
    progress: Callable[[int], object] | None = None,
    preview: Preview | None = None,
) -> Iterator[tuple[range, list[Tensor]]]:
    """Draw samples batch by batch.

    Args:
        model: Network, on the device to use.
        request: Seeds, and classes or prompts.
        settings: Sampler, steps, guidance and precision. Default: ``SamplerSettings()``.
        encoder: Text encoder for the prompts.
        progress: Called after every step with the number of samples in the batch.
        preview: Called after every step with the predicted clean images.

    Yields:
        The rows of the batch in the request, and its images (rows, channels, height, width), or clips (rows, channels,
        frames, height, width), in [-1, 1] by level, outermost first, on the CPU.

    Raises:
        ValueError: There are more steps than the process has, prompts and no encoder, or the samples hold NaN.
    """
    settings = (settings or SamplerSettings()).fitted(model.graph.process.steps)
    if request.classes is None and request.prompts is None:
        settings = settings.model_copy(update={"guidance_scale": 1.0})
    precision = pick_precision(settings.precision, model.device)
    process = DiffusionProcess(model.graph, model.device)
    guided = settings.guidance_scale not in (0, 1)
    size = rows_at_once(model.graph, model.device, guided=guided, pixels=BATCH_PIXELS)
    for start in range(0, len(request.seeds), size):
        rows = range(start, min(start + size, len(request.seeds)))
        with torch.no_grad():
            context, unconditional = _contexts(model, request, rows, encoder, precision)
            images = sample(
                model,
                context,
                process,
                settings,
                seeds=request.seeds[rows.start : rows.stop],
                unconditional=unconditional,
                progress=partial(_report, progress, preview, rows),
            )
        found = [level.cpu() for level in images]
        _check_finite(model, found)
        yield rows, found


def _check_finite(model: NestedUNet, images: Sequence[Tensor]) -> None:
    """Check that no sample holds NaN or infinity, which would be black pixels.

    Raises:
        ValueError: One does; the first weight that is not finite is named, if there is one.
    """
    label = next((label for label, level in zip(model.labels, images, strict=True) if not level.isfinite().all()), None)
    if label is None:
        return
    bad = first_not_finite(model.state_dict())
    why = f"its weight {bad} holds NaN or infinity" if bad else "its predictions overflow; the weights may be damaged"
    raise ValueError(f"{model.graph.name}: the samples of level {label} hold NaN or infinity: {why}")


def draw_all(
    model: NestedUNet,
    request: Request,
    settings: SamplerSpec | None = None,
    *,
    encoder: TextEncoder | None = None,
    progress: Callable[[int], object] | None = None,
) -> list[Tensor]:
    """Draw all samples of a request; arguments as :func:`draw`.

    Returns:
        Images (samples, channels, height, width), or clips (samples, channels, frames, height, width), in [-1, 1] by
        level, outermost first, on the CPU.
    """
    batches = [images for _, images in draw(model, request, settings, encoder=encoder, progress=progress)]
    return [torch.cat(level) for level in zip(*batches, strict=True)]


def class_shares(counts: Sequence[int], number: int) -> tuple[int, ...]:
    """Return class indices in given proportions, in order.

    Args:
        counts: Images of each class.
        number: Number of indices. Remainders are distributed by the largest-remainder method.

    Raises:
        ValueError: No class has an image.
    """
    total = sum(counts)
    if total <= 0:
        raise ValueError("no class has an image")
    exact = [number * count / total for count in counts]
    whole = [int(share) for share in exact]
    by_remainder = sorted(range(len(counts)), key=lambda index: (whole[index] - exact[index], index))
    for index in by_remainder[: number - sum(whole)]:
        whole[index] += 1
    return tuple(index for index, share in enumerate(whole) for _ in range(share))


def _report(
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


def _contexts(
    model: NestedUNet, request: Request, rows: range, encoder: TextEncoder | None, precision: str
) -> tuple[Context, Context]:
    """Return the context of some rows of a request, and the one without conditions."""
    given, empty = _conditions(model, request, rows, encoder)
    with autocast(model.device, precision):
        unconditional = model.encode(**empty)
        return model.encode(**given) if given else unconditional, unconditional


def _conditions(
    model: NestedUNet, request: Request, rows: range, encoder: TextEncoder | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of :meth:`NestedUNet.encode` for some rows, and those without conditions."""
    if request.prompts is not None:
        if encoder is None:
            raise ValueError("prompts need a text encoder")
        states, mask = encoder(list(request.prompts[rows.start : rows.stop]))
        given = {"text": states.to(model.device), "text_mask": mask.to(model.device)}
        # In training, a dropped prompt is zeros with an empty mask.
        return given, {name: torch.zeros_like(value) for name, value in given.items()}
    if request.classes is None:
        return {}, {}
    return {"classes": torch.tensor(request.classes[rows.start : rows.stop], device=model.device)}, {}
