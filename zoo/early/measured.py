"""A measurement that is asked for: whether features, samples and reference exist."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from specs.schemas.evaluation import EvaluationSpec

__all__ = ["check_measured"]


def check_measured(
    what: str,
    spec: EvaluationSpec,
    reference: str | None,
    folder: Path,
    levels: Sequence[str] = (),
    text_encoder: str | None = None,
    resolution: int | None = None,
) -> None:
    """Check what can be checked of a measurement without importing torch.

    Args:
        what: Entry with weights, checkpoint, or folder of images.
        spec: Settings of the measurement.
        reference: Dataset or folder of images to compare with, or None for the training data.
        folder: Folder of results.
        levels: Labels of the levels to measure.
        text_encoder: Name or path of a text encoder.
        resolution: Side in pixels of a folder's images.

    Raises:
        LookupError: No entry has this name.
        ValueError: There are no such features, levels, weights or images, no reference is named, or there are more
            sampling steps than the process has.
        OSError: The folder cannot be written.
    """
    from builders.files import check_writable
    from registry.evaluation.features import EvaluationError, check_features
    from registry.evaluation.image_sets import names_images
    from registry.evaluation.levels import check_resolution, level_sizes
    from registry.weights import find_weights
    from zoo.early.data import check_data
    from zoo.early.weights import check_text_encoder, facts_of

    check_features(spec.features)
    if names_images(what):
        if reference is None:
            raise EvaluationError(f"{what}: name the images to compare these with: --reference NAME_OR_FOLDER")
    else:
        graph, _ = facts_of(find_weights(what))
        if graph is not None:
            spec.fitted(graph.process.steps)
            level_sizes(graph, levels)
            check_resolution(what, graph, resolution)
        check_text_encoder(text_encoder, graph)
    check_data(reference)
    check_writable(folder)
