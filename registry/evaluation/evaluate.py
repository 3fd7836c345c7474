"""Evaluation: how far samples are from real images, under a protocol that travels with the numbers."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.environment import environment
from registry.evaluation.feature_cache import reference_features
from registry.evaluation.features import EvaluationError, Extractor, extract
from registry.evaluation.image_sets import ImageSet
from registry.evaluation.results import Measurement, Metric, Protocol
from registry.weights import text_encoder
from specs.schemas.evaluation import EvaluationSpec

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from builders.networks.nested_unet import NestedUNet
    from builders.text.encoder import TextEncoder

__all__ = ["FEW", "Comparison", "compare", "draw_samples", "evaluate_images", "evaluate_model"]

#: Below this many samples a Frechet distance says more about their number than about their quality.
FEW = 5000
Progress = Callable[[str, int, int], object]


def _silent(what: str, done: int, total: int) -> None:
    """Shows nothing."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Metrics in the order in which they should be read, and what to know of them."""

    metrics: dict[str, Metric]
    warnings: tuple[str, ...]


def compare(
    samples: np.ndarray,
    reference: np.ndarray,
    extractor: Extractor,
    logits: np.ndarray | None = None,
    replicates: int = 100,
) -> Comparison:
    """Kernel and Frechet distances with 95 % intervals, and the inception score where there are logits.

    Below 5,000 samples the kernel distance comes first, for it has no bias by their number.

    Raises:
        EvaluationError: too few samples, features that are not finite, or a singular covariance.
    """
    from registry.evaluation.distances import FrechetReference, KernelReference, inception_score

    kernel = KernelReference(reference).interval(samples)
    frechet = FrechetReference(reference).interval(samples, replicates)
    metrics = {
        extractor.metric("kid"): Metric(value=kernel.value, low=kernel.low, high=kernel.high),
        extractor.metric("fd"): Metric(value=frechet.value, low=frechet.low, high=frechet.high),
    }
    warnings = []
    count = min(len(samples), len(reference))
    if count < FEW:
        name = extractor.metric("fd")
        warnings.append(
            f"{count:,} samples: {name} depends on their number below {FEW:,}; rank by {extractor.metric('kid')}, "
            "and compare only numbers of equal counts"
        )
        if count <= extractor.width:
            warnings.append(f"the covariance of {count:,} samples in {extractor.width:,} features is singular")
    else:
        metrics = dict(reversed(metrics.items()))
    if logits is not None and len(logits) >= 10:
        mean, deviation = inception_score(logits)
        name = extractor.metric("inception_score")
        metrics[name] = Metric(value=mean, low=mean - 1.96 * deviation, high=mean + 1.96 * deviation)
    return Comparison(metrics, tuple(warnings))


def evaluate_images(
    images: ImageSet,
    reference: ImageSet,
    extractor: Extractor,
    *,
    device: torch.device | str = "cpu",
    progress: Progress = _silent,
    facts: Mapping[str, Any] | None = None,
) -> Measurement:
    """Measure a set of images against a reference set.

    Args:
        images: what is measured.
        reference: what it is measured against; its features are cached.
        extractor: network of the features.
        device: where to run the network.
        progress: told what is being done, how much of it is done, and of how much.
        facts: fields of :class:`Measurement` to fill in, such as the entry and its hashes.

    Raises:
        EvaluationError: the sets cannot be compared.
    """
    if len(images.images) < 2:
        raise EvaluationError(f"{images.name}: {len(images.images)} image; a distance needs at least two")
    side = images.images.shape[-1]
    real = reference_features(
        reference, extractor, device=device, progress=_counted(progress, "reference", len(reference.images))
    )
    found, logits = extract(
        extractor, images.batches(), device=device, progress=_counted(progress, "features", len(images.images))
    )
    comparison = compare(found, real, extractor, logits)
    protocol = Protocol(
        features=extractor.name,
        features_sha256=extractor.sha256,
        resize=extractor.resize,
        resolution=side,
        samples=len(images.images),
        reference=reference.name,
        reference_split=reference.split,
        reference_count=len(reference.images),
        reference_sha256=reference.sha256,
    )
    given = {"weights": images.sha256[:16]} | dict(facts or {})
    return Measurement(
        protocol=protocol,
        metrics=comparison.metrics,
        warnings=comparison.warnings,
        environment=environment(device),
        data_licence=reference.licence,
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        **given,
    )


def evaluate_model(
    model: NestedUNet,
    metadata: Mapping[str, str],
    reference: ImageSet,
    extractor: Extractor,
    spec: EvaluationSpec,
    *,
    encoder: TextEncoder | None = None,
    progress: Progress = _silent,
) -> tuple[Measurement, ImageSet]:
    """Draw samples of a trained network and measure them; returns the samples too.

    Classes are drawn in the proportions of the reference set. Captions are read by ``encoder``, or by the one that the
    network was trained with, which is opened for it.

    Raises:
        EvaluationError: the sets cannot be compared.
        ValueError: sampler settings that do not fit.
    """
    encoder = encoder or text_encoder(model, metadata)
    images = draw_samples(model, reference, spec, encoder=encoder, progress=progress)
    settings = spec.drawn
    if encoder is not None:
        settings["text_encoder"] = encoder.fingerprint[:16]
    step = metadata.get("step", "")
    facts = {
        "entry": model.graph.name,
        "hash": model.graph.hash,
        "graph_hash": model.graph.graph_hash,
        "weights": metadata.get("content", "")[:16],
        "sampler": settings,
        "training_step": int(step) if step.isdecimal() else None,
    }
    measured = evaluate_images(images, reference, extractor, device=model.device, progress=progress, facts=facts)
    return measured, images


def draw_samples(
    model: NestedUNet,
    reference: ImageSet,
    spec: EvaluationSpec,
    *,
    encoder: TextEncoder | None = None,
    progress: Progress = _silent,
) -> ImageSet:
    """Samples of the highest resolution as 8-bit images.

    Classes are drawn in the proportions of the reference set; prompts are its captions, evenly spread.

    Raises:
        EvaluationError: the model reads text, and the reference has no captions.
    """
    import torch

    from builders.pixels import to_bytes
    from builders.sampling.generation import Request, class_shares, draw

    classes = None
    if model.graph.classes is not None:
        counts = reference.class_counts
        if counts is None or len(counts) != model.graph.classes:
            counts = (1,) * model.graph.classes
        classes = class_shares(counts, spec.samples)
    prompts = None
    if model.graph.text is not None:
        known = [caption for caption in reference.captions if caption]
        if not known:
            raise EvaluationError(f"{model.graph.name} reads text, and {reference.name} has no captions to draw from")
        prompts = tuple(known[index * len(known) // spec.samples] for index in range(spec.samples))
    request = Request(tuple(range(spec.seed, spec.seed + spec.samples)), classes, prompts)
    advance = _counted(progress, "sampling", spec.samples * spec.num_inference_steps)
    parts: list[Tensor] = []
    was_training = model.training
    model.eval()
    for _, levels in draw(model, request, spec, encoder=encoder, progress=advance):
        parts.append(to_bytes(levels[0].clamp(-1, 1)))
    model.train(was_training)
    return ImageSet(model.graph.name, "", torch.cat(parts), class_counts=None)


def _counted(progress: Progress, what: str, total: int) -> Callable[[int], object]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(what, done, total)

    return advance
