"""Measure an entry, a checkpoint or a folder of images, and write the results to files."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.files import check_writable
from registry.evaluation.clip_sets import ClipSet, clip_facts, open_clips
from registry.evaluation.evaluate import evaluate_images, evaluate_levels
from registry.evaluation.evaluate_clips import evaluate_clips
from registry.evaluation.features import EvaluationError, Extractor, open_features
from registry.evaluation.image_sets import ImageSet, names_images, open_images, open_reference
from registry.evaluation.levels import check_resolution, level_sizes
from registry.evaluation.phases import Progress, silent
from registry.evaluation.results import MEASURED, Measurement, save
from registry.provenance import may_open, named_data
from registry.weights import data_of, load_weights
from registry.weights import text_encoder as open_encoder
from specs.blocks.size import Size
from specs.schemas.evaluation import EvaluationSpec

if TYPE_CHECKING:
    import torch

__all__ = ["measure", "measure_levels"]

#: Samples on the contact sheet that is saved with a measurement; clips, and frames of each.
SHOWN, SHOWN_CLIPS, SHOWN_FRAMES = 60, 18, 8


def measure(what: str, spec: EvaluationSpec, *, level: str | None = None, **options: Any) -> tuple[Measurement, Path]:
    """Measure one level and write the result; return it and its file.

    Args:
        what: As for :func:`measure_levels`.
        spec: As for :func:`measure_levels`.
        level: Label of the level. Default: the outermost.
        **options: As for :func:`measure_levels`.

    Raises:
        ValueError, LookupError, OSError: One clear message each.
    """
    return measure_levels(what, spec, levels=() if level is None else (level,), **options)[0]


def measure_levels(
    what: str,
    spec: EvaluationSpec,
    *,
    levels: Sequence[str] = (),
    reference: str | None = None,
    text_encoder: str | None = None,
    resolution: int | None = None,
    inception_weights: Path | None = None,
    folder: Path = MEASURED,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> list[tuple[Measurement, Path]]:
    """Draw samples once, measure some levels and write the results; return them with their files.

    Args:
        what: An entry with weights, a checkpoint or its folder, or a folder or shard of images, or of clips.
        spec: Number of samples, how they are drawn, the features they are compared in.
        levels: Labels of the levels to measure. Default: the outermost.
        reference: A dataset, shard or folder of images; by default the data that the weights were trained on, if it is
            packaged or the weights are in the folder of their run. Levels of clips need a set of clips.
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

    def features() -> Extractor:
        return open_features(spec.features, resize=spec.resize, weights=inception_weights, device=device)

    images = _folder(what, resolution)
    if images is not None:
        if levels:
            raise EvaluationError(f"{what} has no levels; --level is for entries and checkpoints")
        if reference is None:
            kind = "clips" if isinstance(images, ClipSet) else "images"
            raise EvaluationError(f"{what}: name the {kind} to compare these with: --reference NAME_OR_FOLDER")
        options: Any = {"device": device, "progress": progress}
        if isinstance(images, ClipSet):
            clips = open_clips(reference, images.size, spec.split)
            found = evaluate_clips(images, clips, features(), **options)
        else:
            real = open_images(reference, images.images.shape[-1], spec.split)
            found = evaluate_images(images, real, features(), **options)
        return [(found, save(found, folder))]
    model, metadata = load_weights(what, device)
    check_resolution(what, model.graph, resolution)
    sizes = level_sizes(model.graph, levels)
    data = _data(what, metadata, reference)
    references = {
        label: open_reference(data, size, spec.split, fetch=reference is not None) for label, size in sizes.items()
    }
    encoder = open_encoder(model, metadata, text_encoder)
    measured = evaluate_levels(model, metadata, references, features(), spec, encoder=encoder, progress=progress)
    results = []
    for each, drawn in measured:
        path = save(each, folder)
        _save_sheet(drawn, path.with_suffix(".png"))
        results.append((each, path))
    return results


def _data(what: str, metadata: Mapping[str, str], reference: str | None) -> str | Mapping[str, float]:
    """Return the data to compare with: those named, or those that the weights were trained on.

    Raises:
        EvaluationError: There are none, or they may not be opened unasked.
    """
    data = reference or data_of(metadata)
    if not data:
        raise EvaluationError(f"{what} does not name its training data; set --reference NAME_OR_FOLDER")
    if reference is None and not may_open(metadata, data):
        raise EvaluationError(
            f"{what} names the data {named_data(data)}, which is not opened unless you name it: --reference, if you "
            "trust it"
        )
    return data


def _folder(what: str, resolution: int | None) -> ImageSet | ClipSet | None:
    """Return the images or clips of a shard, or of a folder that holds samples and no checkpoint.

    Raises:
        EvaluationError: No side of the clips is known.
    """
    if not names_images(what):
        return None
    frames, stored = clip_facts(what)
    if frames > 1:
        side = resolution or stored
        if side is None:
            raise EvaluationError(f"{what}: the side of its clips is not stated; add --resolution, such as 64")
        return open_clips(what, Size(side, frames), "all", most=sys.maxsize)
    return open_images(what, resolution, "all")


def _save_sheet(drawn: ImageSet | ClipSet, path: Path) -> None:
    """Save a contact sheet of samples spread evenly over all: they are ordered by class, and each should show.

    Clips are rows of up to eight frames, evenly spaced with the first and the last.
    """
    import torch

    from builders.pictures import contact_sheet, save_image

    if isinstance(drawn, ImageSet):
        count = len(drawn.images)
        shown = min(count, SHOWN)
        sheet = contact_sheet(drawn.images[[index * count // shown for index in range(shown)]])
    else:
        clips = torch.cat(list(drawn.batches()))
        shown, frames = min(len(clips), SHOWN_CLIPS), min(drawn.size.frames, SHOWN_FRAMES)
        rows = clips[[index * len(clips) // shown for index in range(shown)]]
        chosen = torch.linspace(0, drawn.size.frames - 1, frames).round().long()
        sheet = contact_sheet(rows[:, :, chosen].transpose(1, 2).flatten(0, 1), columns=frames)
    save_image(sheet, path)
