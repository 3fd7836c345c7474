"""Measure an entry, a checkpoint or a folder of images, and write the result to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from builders.files import check_writable
from registry.evaluation.evaluate import Progress, evaluate_images, evaluate_model, silent
from registry.evaluation.features import EvaluationError, open_features
from registry.evaluation.image_sets import ImageSet, names_images, open_images
from registry.evaluation.results import MEASURED, Measurement, save
from registry.provenance import may_open, named_data
from registry.weights import data_of, load_weights
from registry.weights import text_encoder as open_encoder
from specs.schemas.evaluation import EvaluationSpec

if TYPE_CHECKING:
    import torch

__all__ = ["measure"]

#: Samples on the contact sheet that is saved with a measurement.
SHOWN = 60


def measure(
    what: str,
    spec: EvaluationSpec,
    *,
    reference: str | None = None,
    text_encoder: str | None = None,
    resolution: int | None = None,
    inception_weights: Path | None = None,
    folder: Path = MEASURED,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> tuple[Measurement, Path]:
    """Measure and write the result; return it and its file.

    Args:
        what: An entry with weights, a checkpoint or its folder, or a folder or shard of images.
        spec: Number of samples, how they are drawn, the features they are compared in.
        reference: A dataset, shard or folder of images; by default the data that the weights were trained on, if it is
            packaged or the weights are in the folder of their run.
        text_encoder: Text encoder of the network; by default the one of its training, under the same condition.
        resolution: Side in pixels to compare at; by default that of the samples.
        inception_weights: File of the weights that define FID.
        folder: Folder of results.
        device: Device of the model and the features.
        progress: Called with the name of the current phase, and how much of it is done out of how much.

    Raises:
        ValueError, LookupError, OSError: One clear message each.
    """
    check_writable(folder)  # before minutes of work that would be lost
    images = _folder_of_images(what, resolution)
    if images is not None:
        if reference is None:
            raise EvaluationError(f"{what}: name the images to compare these with: --reference NAME_OR_FOLDER")
        real = open_images(reference, images.images.shape[-1], spec.split)
        extractor = open_features(spec.features, resize=spec.resize, weights=inception_weights, device=device)
        found = evaluate_images(images, real, extractor, device=device, progress=progress)
        return found, save(found, folder)
    model, metadata = load_weights(what, device)
    data = reference or data_of(metadata)
    if not data:
        raise EvaluationError(f"{what} does not name its training data; set --reference NAME_OR_FOLDER")
    if reference is None and not may_open(metadata, data):
        raise EvaluationError(
            f"{what} names the data {named_data(data)}, which is not opened unless you name it: --reference, if you "
            "trust it"
        )
    if resolution not in (None, model.graph.resolution):
        raise EvaluationError(f"{what} draws at {model.graph.resolution} pixels; --resolution is for folders of images")
    real = open_images(data, model.graph.resolution, spec.split, fetch=reference is not None)
    extractor = open_features(spec.features, resize=spec.resize, weights=inception_weights, device=device)
    encoder = open_encoder(model, metadata, text_encoder)
    found, drawn = evaluate_model(model, metadata, real, extractor, spec, encoder=encoder, progress=progress)
    path = save(found, folder)
    _save_sheet(drawn, path.with_suffix(".png"))
    return found, path


def _folder_of_images(what: str, resolution: int | None) -> ImageSet | None:
    """Return the images of a shard, or of a folder that holds images and no checkpoint."""
    return open_images(what, resolution, "all") if names_images(what) else None


def _save_sheet(drawn: ImageSet, path: Path) -> None:
    """Save a contact sheet of samples spread evenly over all: they are ordered by class, and each should show."""
    from builders.pictures import contact_sheet, save_image

    count = len(drawn.images)
    shown = min(count, SHOWN)
    save_image(contact_sheet(drawn.images[[index * count // shown for index in range(shown)]]), path)
