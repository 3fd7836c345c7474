"""``zoo evaluate``: distances of an entry's, a checkpoint's or a folder's images or clips from a reference set."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.commands.options import (
    SAMPLING,
    Clip,
    Device,
    DynamicThreshold,
    Eta,
    Guidance,
    GuidanceInterval,
    Json,
    Quiet,
    Sampler,
    Seed,
    Spacing,
    Steps,
    read_settings,
)
from zoo.early.folder import local_output
from zoo.early.measured import check_measured
from zoo.terminal.completion import complete_data, complete_trained

if TYPE_CHECKING:
    from rich.text import Text

    from registry.evaluation.results import Measurement


def evaluate(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="An entry with weights, a checkpoint, or a folder of images or of packed clips.",
            autocompletion=complete_trained,
        ),
    ],
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            "--data",
            help="Dataset or folder of images to compare with. Default: the training data.",
            autocompletion=complete_data,
        ),
    ] = None,
    level: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL", help="Level to measure, such as r16 or r32f8. Repeatable. Default: the outermost."
        ),
    ] = None,
    text_encoder: Annotated[
        str | None, typer.Option(help="Text encoder: embedded, a T5 by name, or a folder. Default: as in training.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the reference: train, val or all.")] = "train",
    samples: Annotated[int, typer.Option("--samples", "-n", help="Number of samples to draw.")] = 1000,
    features: Annotated[str, typer.Option(help="Features: efficientnet_lite0, inception (FID), or timm:MODEL.")] = (
        "efficientnet_lite0"
    ),
    resize: Annotated[
        str, typer.Option(help="Interpolation to the features' resolution: bicubic, bilinear or none.")
    ] = "bicubic",
    resolution: Annotated[
        int | None, typer.Option(min=1, help="Side in pixels to resize a folder's images to.")
    ] = None,
    sampler: Sampler = SAMPLING.sampler,
    steps: Steps = None,
    guidance: Guidance = None,
    guidance_interval: GuidanceInterval = SAMPLING.guidance_interval,
    eta: Eta = SAMPLING.eta,
    clip: Clip = SAMPLING.clip,
    dynamic_threshold: DynamicThreshold = SAMPLING.dynamic_threshold,
    precision: Annotated[
        str,
        typer.Option(help="Dtype of activations: float32, or bfloat16 to save time.", rich_help_panel="Sampling"),
    ] = "float32",
    spacing: Spacing = SAMPLING.spacing,
    seed: Seed = 0,
    inception_weights: Annotated[
        Path | None, typer.Option(exists=True, help="File of the Inception weights that FID uses.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", callback=local_output, help="Folder of results.")] = Path(
        "results/measured"
    ),
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure the distance of samples from real images or clips: FID, KID and similar metrics."""
    from specs.schemas.evaluation import EvaluationSpec

    spec = read_settings(
        EvaluationSpec,
        samples=samples,
        sampler=sampler,
        num_inference_steps=steps,
        guidance_scale=guidance,
        guidance_interval=guidance_interval,
        eta=eta,
        clip=clip,
        dynamic_threshold=dynamic_threshold,
        precision=precision,
        spacing=spacing,
        seed=seed,
        features=features,
        resize=resize,
        split=split,
    )
    levels = tuple(dict.fromkeys(level or ()))
    check_measured(what, spec, reference, output, levels, text_encoder, resolution)

    from registry.evaluation.measure import measure_levels
    from zoo.device import pick_device
    from zoo.terminal.console import console
    from zoo.terminal.progress import phase_bars
    from zoo.terminal.tables import print_table

    with phase_bars(quiet or as_json) as progress:
        results = measure_levels(
            what,
            spec,
            levels=levels,
            reference=reference,
            text_encoder=text_encoder,
            resolution=resolution,
            inception_weights=inception_weights,
            folder=output,
            device=pick_device(device),
            progress=progress,
        )
    if as_json:
        found = [each.model_dump(mode="json") for each, _ in results]
        print(json.dumps(found if len(found) > 1 else found[0], indent=1, ensure_ascii=False))
        return
    for number, (each, path) in enumerate(results):
        if number:
            print()
        print_table(_rows(each), console=console())
        if each.motions:
            print_table(_motions(each), console=console())
        print(each.title)
        for warning in each.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        print(f"wrote {path}")


def _rows(measurement: Measurement) -> list[dict[str, str | Text]]:
    """Return the metrics with their intervals as rows of a table."""
    rows: list[dict[str, str | Text]] = []
    for name, metric in measurement.metrics.items():
        rows.append({"metric": name, "value": _digits(metric.value), "95 % interval": metric.uncertainty(_digits)})
    return rows


def _motions(measurement: Measurement) -> list[dict[str, str | Text]]:
    """Return the clips that move as their class says as rows of a table."""
    return [
        {
            "class": name,
            "samples that move so": f"{each.right} of {each.samples}",
            "of the reference": f"{each.reference_right} of {each.reference}",
        }
        for name, each in measurement.motions.items()
    ]


def _digits(value: float) -> str:
    """Return a number with five significant digits, zeros at the end included."""
    return f"{value:#.5g}".removesuffix(".")
