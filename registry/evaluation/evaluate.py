"""Evaluation: distances of samples from real images or clips, stored together with their protocol."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from registry.environment import environment
from registry.evaluation.clip_sets import ClipSet, clip_set
from registry.evaluation.distances import FEW, FrechetReference, KernelReference, inception_score
from registry.evaluation.evaluate_clips import evaluate_clips
from registry.evaluation.feature_cache import reference_features
from registry.evaluation.features import EvaluationError, Extractor, extract
from registry.evaluation.image_sets import ImageSet
from registry.evaluation.phases import Progress, counted, silent
from registry.evaluation.results import Measurement, Metric, Protocol
from registry.weights import recipe_of, text_encoder, trained_steps
from specs.schemas.evaluation import EvaluationSpec

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from builders.networks.nested_unet import NestedUNet
    from builders.text.encoder import TextEncoder
    from specs.graph import EntryGraph

__all__ = [
    "Scores",
    "compare",
    "draw_levels",
    "draw_samples",
    "evaluate_images",
    "evaluate_levels",
    "evaluate_model",
]


@dataclass(frozen=True, slots=True)
class Scores:
    """Metrics, the most reliable first, and notes on how to read them."""

    metrics: dict[str, Metric]
    warnings: tuple[str, ...]


def compare(
    samples: np.ndarray,
    reference: np.ndarray,
    extractor: Extractor,
    logits: np.ndarray | None = None,
    replicates: int = 100,
) -> Scores:
    """Return kernel and Frechet distances with 95 % intervals, and the inception score if there are logits.

    Below 5,000 samples the kernel distance comes first, since its estimate is unbiased at any number of samples.

    Args:
        samples: Features of the samples, (N, d).
        reference: Features of the reference set, (M, d).
        extractor: Network of the features.
        logits: Class logits of the samples, (N, classes).
        replicates: Number of bootstrap resamples of the Frechet distance.

    Raises:
        EvaluationError: Too few samples, features that are not finite, or a singular covariance.
    """
    kid, fd = extractor.metric("kid"), extractor.metric("fd")
    kernel = KernelReference(reference).interval(samples)
    frechet = FrechetReference(reference).interval(samples, replicates)
    metrics = {
        kid: Metric(value=kernel.value, low=kernel.low, high=kernel.high),
        fd: Metric(value=frechet.value, low=frechet.low, high=frechet.high),
    }
    warnings = []
    count = min(len(samples), len(reference))
    if count < FEW:
        what = f"{count:,} {'samples' if len(samples) <= len(reference) else 'images of the reference'}"
        warnings.append(
            f"{what}: below {FEW:,}, {fd} depends on the number of samples; rank by {kid}, and compare only "
            "numbers with equal sample counts"
        )
        if count <= extractor.width:
            warnings.append(f"the covariance of {what} in {extractor.width:,} features is singular")
    else:
        metrics = dict(reversed(metrics.items()))
    if logits is not None and len(logits) >= 10:
        mean, spread = inception_score(logits)
        metrics[extractor.metric("inception_score")] = Metric(value=mean, spread=spread)
    return Scores(metrics, tuple(warnings))


def evaluate_images(
    images: ImageSet,
    reference: ImageSet,
    extractor: Extractor,
    *,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
    facts: Mapping[str, Any] | None = None,
) -> Measurement:
    """Measure the distance of a set of images from a reference set.

    Args:
        images: Images to measure.
        reference: Images to compare with; their features are cached.
        extractor: Network of the features.
        device: Device of the network.
        progress: Called with the name of the current phase, the amount done and the total amount.
        facts: Further fields of the :class:`Measurement`, such as the entry and its hashes.

    Raises:
        EvaluationError: The sets cannot be compared.
    """
    count, real_count = len(images.images), len(reference.images)
    if count < 2:
        raise EvaluationError(f"{images.name}: {count} image{'s' * (count != 1)}; a distance needs at least two")
    advance = counted(progress, "reference", real_count)
    real = reference_features(reference, extractor, device=device, progress=advance)
    advance = counted(progress, "features", count)
    found, logits = extract(extractor, images.batches(), device=device, progress=advance)
    scores = compare(found, real, extractor, logits)
    protocol = Protocol(
        features=extractor.name,
        features_sha256=extractor.sha256,
        resize=extractor.resize,
        resolution=images.images.shape[-1],
        samples=count,
        reference=reference.name,
        reference_split=reference.split,
        reference_count=real_count,
        reference_sha256=reference.sha256,
        resizing=images.resizing or reference.resizing,
    )
    given = {"weights": images.sha256[:16]} | dict(facts or {})
    return Measurement(
        protocol=protocol,
        metrics=scores.metrics,
        warnings=scores.warnings,
        environment=environment(device),
        data_licence=reference.licence,
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        **given,
    )


def evaluate_model(
    model: NestedUNet,
    metadata: Mapping[str, str],
    reference: ImageSet | ClipSet,
    extractor: Extractor,
    spec: EvaluationSpec,
    *,
    encoder: TextEncoder | None = None,
    progress: Progress = silent,
    drawing: Any = None,
) -> tuple[Measurement, ImageSet | ClipSet]:
    """Draw samples of a trained network and measure its outermost level; return the measurement and the samples.

    Arguments and errors are those of :func:`evaluate_levels`.
    """
    references = {model.labels[0]: reference}
    options: Any = {"encoder": encoder, "progress": progress, "drawing": drawing}
    return evaluate_levels(model, metadata, references, extractor, spec, **options)[0]


def evaluate_levels(
    model: NestedUNet,
    metadata: Mapping[str, str],
    references: Mapping[str, ImageSet | ClipSet],
    extractor: Extractor,
    spec: EvaluationSpec,
    *,
    encoder: TextEncoder | None = None,
    progress: Progress = silent,
    drawing: Any = None,
) -> list[tuple[Measurement, ImageSet | ClipSet]]:
    """Draw samples of a trained network once, and measure some of its levels; return measurements and samples.

    Args:
        model: Trained network.
        metadata: Metadata of its checkpoint.
        references: Images or clips to compare with, by the label of the level. Classes are drawn in the proportions of
            the first one, prompts from its captions.
        extractor: Network of the features.
        spec: Number of samples and sampler settings.
        encoder: Text encoder. Default: the one that the network was trained with.
        progress: Called with the name of the current phase, the amount done and the total amount.
        drawing: Function to draw with, with the arguments of :func:`builders.sampling.generation.draw`. Default: that
            function.

    Raises:
        EvaluationError: The sets cannot be compared.
        ValueError: Sampler settings do not fit the network.
    """
    encoder = encoder or text_encoder(model, metadata)
    spec, note = fitted_spec(spec, model.graph, metadata)
    first = classes_as_known(next(iter(references.values())), metadata)
    how: Any = {"encoder": encoder, "progress": progress, "drawing": drawing}
    drawn = draw_levels(model, first, spec, tuple(references), **how)
    settings = spec.drawn
    if encoder is not None:
        settings["text_encoder"] = encoder.fingerprint[:16]
    facts = {
        "entry": model.graph.name,
        "hash": model.graph.hash,
        "graph_hash": model.graph.graph_hash,
        "weights": metadata.get("content", "")[:16],
        "sampler": settings,
        "training_step": trained_steps(metadata),
    }
    found = []
    for label, reference in references.items():
        options: Any = {"device": model.device, "progress": progress, "facts": facts}
        samples = drawn[label]
        if isinstance(samples, ClipSet) and isinstance(reference, ClipSet):
            measured = evaluate_clips(samples, reference, extractor, **options)
        elif isinstance(samples, ImageSet) and isinstance(reference, ImageSet):
            measured = evaluate_images(samples, reference, extractor, **options)
        else:
            raise EvaluationError(f"level {label} cannot be compared with {reference.name}: one is images, one clips")
        if note is not None:
            measured = measured.model_copy(update={"warnings": (*measured.warnings, note)})
        found.append((measured, samples))
    return found


def fitted_spec(
    spec: EvaluationSpec, graph: EntryGraph, metadata: Mapping[str, str]
) -> tuple[EvaluationSpec, str | None]:
    """Return the settings with defaults that fit a network, and a note if its guidance is not trained.

    Args:
        spec: Settings of a measurement.
        graph: Graph of the network.
        metadata: Metadata of its weights.

    Raises:
        ValueError: More sampling steps are set than the process has.
    """
    from builders.sampling.defaults import fit_settings, guidance_note

    drop = recipe_of(metadata).get("drop")
    spec = fit_settings(spec, graph, drop, warn=False)
    return spec, guidance_note(spec.guidance_scale, graph, drop)


def classes_as_known(reference: ImageSet | ClipSet, metadata: Mapping[str, str]) -> ImageSet | ClipSet:
    """Return a reference set with its classes in the order in which weights know them."""
    from builders.data.classes import ClassNames

    names = ClassNames.parse(metadata.get("classes", ""), "")
    counts = reference.class_counts
    if names is None or counts is None or sorted(names.classes) != sorted(reference.classes):
        return reference
    by_name = dict(zip(reference.classes, counts, strict=True))
    return replace(reference, classes=names.classes, class_counts=tuple(by_name[name] for name in names.classes))


def draw_samples(
    model: NestedUNet,
    reference: ImageSet | ClipSet,
    spec: EvaluationSpec,
    *,
    encoder: TextEncoder | None = None,
    progress: Progress = silent,
) -> ImageSet | ClipSet:
    """Draw samples of the outermost level; arguments and errors as :func:`draw_levels`."""
    label = model.labels[0]
    return draw_levels(model, reference, spec, (label,), encoder=encoder, progress=progress)[label]


def draw_levels(
    model: NestedUNet,
    reference: ImageSet | ClipSet,
    spec: EvaluationSpec,
    labels: Sequence[str],
    *,
    encoder: TextEncoder | None = None,
    progress: Progress = silent,
    drawing: Any = None,
) -> dict[str, ImageSet | ClipSet]:
    """Draw samples of some levels as 8-bit images or clips.

    Args:
        model: Trained network.
        reference: Set whose class proportions and captions the samples have; captions are spread evenly.
        spec: Number of samples and sampler settings.
        labels: Labels of the levels.
        encoder: Text encoder of the captions.
        progress: Called with ``"sampling"``, the number of row steps done and their total.
        drawing: Function to draw with, as for :func:`evaluate_levels`.

    Raises:
        EvaluationError: The network needs prompts, and the reference has no captions.
    """
    import torch

    from builders.pixels import to_bytes
    from builders.sampling.generation import Request, draw

    spec = spec.fitted(model.graph.process.steps)
    classes, prompts = _conditions(model.graph, reference, spec.samples)
    request = Request(tuple(range(spec.seed, spec.seed + spec.samples)), classes, prompts)
    advance = counted(progress, "sampling", spec.samples * spec.num_inference_steps)
    was_training = model.training
    model.eval()
    parts: dict[str, list[Tensor]] = {label: [] for label in labels}
    for _, levels in (drawing or draw)(model, request, spec, encoder=encoder, progress=advance):
        for label, level in zip(model.labels, levels, strict=True):
            if label in parts:
                parts[label].append(to_bytes(level.clamp(-1, 1)))
    model.train(was_training)
    named = reference.classes if len(reference.classes) == model.graph.classes else ()
    found: dict[str, ImageSet | ClipSet] = {}
    for label in labels:
        drawn = torch.cat(parts[label])
        is_clips = drawn.dim() == 5
        facts: dict[str, Any] = {"labels": classes, "classes": named} if is_clips else {}
        found[label] = (clip_set if is_clips else _image_set)(model.graph.name, drawn, **facts)
    return found


def _image_set(name: str, images: Tensor) -> ImageSet:
    return ImageSet(name, "", images)


def _conditions(
    graph: EntryGraph, reference: ImageSet | ClipSet, samples: int
) -> tuple[tuple[int, ...] | None, tuple[str, ...] | None]:
    """Return the classes and the prompts of samples, each None if the entry does not read them."""
    from builders.sampling.generation import class_shares

    classes = prompts = None
    if graph.classes is not None:
        counts = reference.class_counts
        if counts is None or len(counts) != graph.classes:
            counts = (1,) * graph.classes
        classes = class_shares(counts, samples)
    if graph.text is not None:
        known = [caption for caption in reference.captions if caption]
        if not known:
            raise EvaluationError(f"{graph.name} reads text, and {reference.name} has no captions to draw prompts from")
        prompts = tuple(known[index * len(known) // samples] for index in range(samples))
    return classes, prompts
