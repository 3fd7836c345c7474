"""``zoo.evaluate``: distances of samples or images from a reference set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.api.model import Model, weights_path
from zoo.api.words import python_names

if TYPE_CHECKING:
    import torch

    from registry.entry import Entry
    from registry.evaluation.results import Measurement
    from specs.schemas.evaluation import EvaluationSpec

__all__ = ["evaluate"]


def evaluate(
    what: str | os.PathLike[str] | Entry | Model,
    *,
    samples: int = 1000,
    reference: str | os.PathLike[str] | None = None,
    level: str | None = None,
    text_encoder: str | None = None,
    resolution: int | None = None,
    inception_weights: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] = "results/measured",
    device: torch.device | str | None = None,
    progress: bool = False,
    **settings: Any,
) -> Measurement:
    """Measure the distance of samples from real images or clips, as ``zoo evaluate``.

    Args:
        what: Name of an entry with pretrained weights, the folder of a run, a ``.safetensors`` file, a model of
            :func:`zoo.load`, or a folder of images.
        samples: Number of samples to draw.
        reference: Dataset or folder of images to compare with. Default: the data the model was trained on.
        level: Label of the level to measure, such as ``r16`` or ``r32f8``. Default: the outermost.
        text_encoder: Text encoder by name or folder. Default: the one that the model was trained with.
        resolution: Side in pixels to resize the images of a folder to.
        inception_weights: File of the Inception weights that FID uses.
        output: Folder in which the measurement is saved.
        device: Device. Default: a GPU if there is one, otherwise the CPU.
        progress: Whether to show a progress bar.
        **settings: Fields of :class:`specs.schemas.evaluation.EvaluationSpec`: ``split``, ``features``, ``resize``,
            ``seed``, and the sampler settings of :func:`zoo.sample`, without guidance by default.

    Returns:
        The measurement: ``metrics`` by name, each with ``value``, ``low`` and ``high`` (95 % interval); ``protocol``;
        ``warnings``.

    Raises:
        LookupError: No entry has this name.
        ValueError: There are no weights, images, features or reference, or a setting is out of range.
        OSError: The measurement cannot be saved.
        TypeError: An argument has another type.
    """
    from zoo.early.measured import check_measured

    spec = _spec(samples=samples, **settings)
    where = None if reference is None else os.fspath(reference)
    with python_names():
        name = _name(what)
        check_measured(name, spec, where, Path(output), () if level is None else (level,), text_encoder, resolution)

        from registry.evaluation.measure import measure
        from zoo.device import pick_device
        from zoo.terminal.progress import phase_bars

        with phase_bars(quiet=not progress) as report:
            found, _ = measure(
                name,
                spec,
                reference=where,
                level=level,
                text_encoder=text_encoder,
                resolution=resolution,
                inception_weights=None if inception_weights is None else Path(inception_weights),
                folder=Path(output),
                device=pick_device(None if device is None else str(device)),
                progress=report,
            )
    return found


def _spec(**settings: Any) -> EvaluationSpec:
    """Return the settings of a measurement.

    Raises:
        ValueError: There is no such setting, or a value is out of range.
    """
    from pydantic import ValidationError

    from specs.schemas.evaluation import EvaluationSpec
    from specs.syntax.validation import explain

    try:
        return EvaluationSpec.model_validate(settings, strict=False)
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise ValueError("; ".join(explain(each, EvaluationSpec, "evaluate")[1] for each in details)) from None


def _name(what: Any) -> str:
    """Return the name or path by which the weights or images are found."""
    if isinstance(what, Model):
        if what.path is None:
            raise ValueError(f"{what.name} was built in Python; save its weights and evaluate the file")
        return str(what.path)
    if isinstance(what, (str, os.PathLike)):
        return os.fspath(what)
    return str(weights_path(what))
