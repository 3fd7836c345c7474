"""``zoo evaluate``: distances of an entry's, a checkpoint's or a folder's images from a reference set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from builders.files import check_writable
from registry.evaluation.results import MEASURED, Measurement, save
from specs.schemas.evaluation import EvaluationSpec
from zoo.terminal.progress import PhaseBar

if TYPE_CHECKING:
    from rich.table import Table

    from registry.evaluation.image_sets import ImageSet

__all__ = ["evaluate_command", "measurement_table", "settings", "spread"]

#: Samples on the picture that is kept with a measurement.
SHOWN = 60


def evaluate_command(
    what: str,
    spec: EvaluationSpec,
    *,
    reference: str | None = None,
    resolution: int | None = None,
    inception_weights: Path | None = None,
    out: Path = MEASURED,
    device: str | None = None,
    quiet: bool = False,
) -> tuple[Measurement, Path]:
    """Measure and write the result; return it and its file.

    Args:
        what: an entry with weights, a checkpoint or its folder, or a folder of images.
        spec: how many samples, how they are drawn, in which features they are compared.
        reference: a dataset, shard or folder of images; by default the data that the weights were trained on.
        resolution: side in pixels to compare at; by default that of the samples.
        inception_weights: file of the weights that define FID.
        out: folder of results.
        device: where to run.
        quiet: show no progress.

    Raises:
        ValueError, LookupError, OSError: one clear message each.
    """
    from builders.pictures import contact_sheet, save_image
    from registry.evaluation.evaluate import evaluate_images, evaluate_model
    from registry.evaluation.features import EvaluationError, open_features
    from registry.evaluation.image_sets import open_images
    from registry.weights import data_of, load_weights
    from zoo.device import pick_device

    # Before the work of minutes that would be lost.
    check_writable(out)
    images = _folder_of_images(what, resolution)
    if images is not None and reference is None:
        raise EvaluationError(f"{what}: say what to compare these images with: --reference NAME_OR_FOLDER")
    where = pick_device(device)
    if images is not None:
        assert reference is not None
        real = open_images(reference, images.images.shape[-1], spec.split)
        extractor = open_features(spec.features, resize=spec.resize, weights=inception_weights, device=where)
        with PhaseBar(quiet) as progress:
            found = evaluate_images(images, real, extractor, device=where, progress=progress)
        return found, save(found, out)
    model, metadata = load_weights(what, where)
    data = reference or data_of(metadata)
    if not data:
        raise EvaluationError(f"{what} does not say what it was trained on; give --reference NAME_OR_FOLDER")
    if resolution not in (None, model.graph.resolution):
        raise EvaluationError(f"{what} draws at {model.graph.resolution} pixels; --resolution is for folders of images")
    real = open_images(data, model.graph.resolution, spec.split)
    extractor = open_features(spec.features, resize=spec.resize, weights=inception_weights, device=where)
    with PhaseBar(quiet) as progress:
        found, drawn = evaluate_model(model, metadata, real, extractor, spec, progress=progress)
    path = save(found, out)
    save_image(contact_sheet(drawn.images[spread(len(drawn.images), SHOWN)]), path.with_suffix(".png"))
    return found, path


def spread(count: int, shown: int) -> list[int]:
    """Up to ``shown`` indices spread evenly over ``count``: classes stand in order, and all of them are to be seen."""
    shown = min(count, shown)
    return [index * count // shown for index in range(shown)]


def settings(**values: Any) -> EvaluationSpec:
    """The protocol that options of the command line ask for.

    Raises:
        ValueError: an option has no such value; the message names it.
    """
    try:
        return EvaluationSpec(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        if not name:  # settings that do not go together
            raise ValueError(first["msg"].replace("'", "")) from None
        option = {"num_inference_steps": "steps", "guidance_scale": "guidance"}.get(name, name).replace("_", "-")
        raise ValueError(f"--{option} {values[name]}: {first['msg'][0].lower()}{first['msg'][1:]}") from None


def _folder_of_images(what: str, resolution: int | None) -> ImageSet | None:
    """The images of a folder that holds some and no checkpoint."""
    from registry.evaluation.image_sets import open_images

    path = Path(what)
    if not path.is_dir() or any(path.glob("*.safetensors")):
        return None
    return open_images(what, resolution)


def measurement_table(measurement: Measurement) -> Table:
    """Metrics with their intervals, for the terminal."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", title_justify="left")
    table.add_column("metric", style="bold", no_wrap=True)
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    for name, metric in measurement.metrics.items():
        between = "" if metric.low is None or metric.high is None else f"{metric.low:.5g} to {metric.high:.5g}"
        table.add_row(name, f"{metric.value:.5g}", between)
    return table
