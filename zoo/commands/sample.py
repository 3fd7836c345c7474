"""``zoo sample``: draw images or clips from an entry with weights, or from a checkpoint, and show every level."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from specs.schemas.sampling import SamplerSpec
from zoo.commands.options import (
    SAMPLING,
    Clip,
    Device,
    DynamicThreshold,
    Eta,
    GuidanceInterval,
    Precision,
    Quiet,
    Sampler,
    Seed,
    Spacing,
    Steps,
    read_settings,
)
from zoo.commands.sampling.clips import ClipOptions
from zoo.commands.sampling.drawing import Drawing, check_grid, draw_folder, draw_grid
from zoo.early.data import check_data
from zoo.early.folder import check_folder, local_output
from zoo.early.weights import check_sampled
from zoo.terminal.completion import complete_trained

if TYPE_CHECKING:
    from builders.data.dataset import Dataset
    from builders.data.mixture import Mixture
    from specs.graph import EntryGraph

#: Suffixes of pictures that cannot be written; they are not meant as names of folders.
PICTURES = (".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".svg", ".pdf", ".mp4")


def sample(
    entry: Annotated[
        str,
        typer.Argument(
            metavar="WHAT", help="An entry with weights, a checkpoint, or its folder.", autocompletion=complete_trained
        ),
    ],
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", "-c", metavar="CLASS", help="Name of a class, or its index; repeatable. Default: all."),
    ] = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option("--prompt", "-p", metavar="TEXT", help="Prompt, for a model that reads text; repeatable."),
    ] = None,
    text_encoder: Annotated[
        str | None, typer.Option(help="Text encoder: embedded, a T5 by name, or a folder. Default: as in training.")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", help="Number of samples per class or prompt.")] = 2,
    sampler: Sampler = SAMPLING.sampler,
    steps: Steps = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            help="Scale of classifier-free guidance; 1 for none. Default: 2, or 1 for weights not trained for it.",
            rich_help_panel="Sampling",
        ),
    ] = None,
    guidance_interval: GuidanceInterval = SAMPLING.guidance_interval,
    eta: Eta = SAMPLING.eta,
    clip: Clip = SAMPLING.clip,
    dynamic_threshold: DynamicThreshold = SAMPLING.dynamic_threshold,
    precision: Precision = SAMPLING.precision,
    spacing: Spacing = SAMPLING.spacing,
    seed: Seed = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            callback=local_output,
            help="A .png for a grid, or a folder for any number of files; resumable. Default: samples.png, or "
            "the folder samples for clips.",
        ),
    ] = None,
    previews: Annotated[
        Path | None,
        typer.Option(callback=local_output, help="A .png of intermediate predictions for the first samples."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Data for the nearest images and the names of classes. Default: as in training."),
    ] = None,
    device: Device = None,
    nearest: Annotated[bool, typer.Option(help="Show the nearest training image beside each sample.")] = True,
    frame_rate: Annotated[
        float | None, typer.Option(help="Frames a second of clips. Default: 8.", rich_help_panel="Clips")
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(metavar="N", help="Frames of a clip in the grid, or all. Default: 8.", rich_help_panel="Clips"),
    ] = None,
    lossless: Annotated[
        bool, typer.Option("--lossless", help="Animated WebP without loss for MP4.", rich_help_panel="Clips")
    ] = False,
    quiet: Quiet = False,
) -> Path:
    """Draw images or clips at every level."""
    clips = ClipOptions(frame_rate, lossless, frames)
    _check_options(count, output, previews)
    settings = read_settings(
        SamplerSpec,
        sampler=sampler,
        num_inference_steps=steps,
        guidance_scale=guidance,
        guidance_interval=guidance_interval,
        eta=eta,
        clip=clip,
        dynamic_threshold=dynamic_threshold,
        precision=precision,
        spacing=spacing,
    )
    graph = check_sampled(entry, classes or (), prompts or (), text_encoder, settings)
    output = clips.output(graph, output)
    _check_writable(output)
    check_data(data)
    if graph is not None and output.suffix.lower() == ".png":
        check_grid(graph, count * len(prompts or classes or range(graph.classes or 1)))

    from builders.data.open import open_dataset
    from builders.precision import pick_precision
    from builders.sampling.plan import Plan
    from registry import weights
    from registry.evaluation.results import how_drawn
    from zoo.device import pick_device

    model, metadata = weights.load_weights(entry, pick_device(device))
    settings = _fitted(settings, model.graph, weights.recipe_of(metadata).get("drop"))
    settings = settings.model_copy(update={"precision": pick_precision(settings.precision, model.device)})
    known = weights.training_data(metadata) if data is None else open_dataset(data)
    names = weights.class_names(metadata, known)
    plan = Plan.make(model.graph, names, classes or (), prompts or (), count, seed)
    encoder = weights.text_encoder(model, metadata, text_encoder)
    drawing = Drawing(model, plan, settings, encoder, previews, quiet)
    title = f"{model.graph.name}, {how_drawn(settings.drawn)}, seeds from {seed}"
    grid_data = _comparable(known, model.graph, given=data is not None) if nearest else None
    if nearest and known is None and not quiet:
        _explain(metadata)
    if output.suffix.lower() == ".png":
        paths = draw_grid(drawing, output, grid_data, title, clips)
    else:
        paths = _to_folder(drawing, output, metadata, grid_data, title, clips)
    for path in paths:
        print(f"wrote {path}")
    return paths[0]


def _to_folder(
    drawing: Drawing,
    output: Path,
    metadata: Mapping[str, str],
    data: Dataset | Mixture | None,
    title: str,
    clips: ClipOptions,
) -> list[Path]:
    """Draw the samples of a plan into a folder; return the paths of the pictures of some of them."""
    from builders.sampling.clip_files import usable_format
    from builders.sampling.folder import SampleFolder

    model, encoder = drawing.model, drawing.encoder
    facts = {"model": model.graph.name, "weights": metadata.get("content", "")[:16], **drawing.settings.facts}
    if encoder is not None:
        facts["text_encoder"] = encoder.fingerprint[:16]
    sizes = {level.label: level.size for level in model.graph.levels if level.frames > 1}
    chosen, note = usable_format(clips.rate, clips.lossless) if sizes else (None, None)
    if note is not None:
        print(f"note: {note}", file=sys.stderr)
    folder = SampleFolder(output, drawing.plan, model.labels, facts, clips=sizes, clip_format=chosen)
    paths = draw_folder(replace(drawing, plan=folder.plan), folder, data, title, clips)
    count, levels = len(folder.plan), ", ".join(model.labels)
    print(f"{count:,} sample{'s' * (count > 1)} of every level ({levels}) {'are' if count > 1 else 'is'} in {output}")
    return paths


def _comparable(data: Dataset | Mixture | None, graph: EntryGraph, *, given: bool) -> Dataset | Mixture | None:
    """Return the data if the nearest of it can be shown beside samples; None, with a note, if it cannot.

    Raises:
        DataError: It cannot, and was named by the user.
    """
    from builders.data.clips.arrays import chosen_frames
    from builders.data.errors import DataError

    if data is None:
        return None
    try:
        chosen_frames(data.card, graph.frames)
    except DataError as error:
        if given:
            raise DataError(f"--data {error} (or add --no-nearest)") from None
        print(f"note: no nearest training clips: {error}", file=sys.stderr)
        return None
    return data


def _explain(metadata: Mapping[str, str]) -> None:
    """Say why no nearest images are shown, if weights name data that may not be opened."""
    from registry.provenance import may_open, named_data
    from registry.weights import data_of
    from specs.printable import printable

    named = data_of(metadata)
    if named and not may_open(metadata, named):
        shown = printable(named_data(named))
        print(f"the weights name the data {shown}, which is not opened unless you name it: --data", file=sys.stderr)


def _fitted(settings: SamplerSpec, graph: EntryGraph, drop: Any) -> SamplerSpec:
    """Return the settings with defaults that fit the network; say so if it is not guided."""
    from builders.sampling.defaults import GUIDANCE, fit_settings, guidance_note

    if graph.conditions and "guidance_scale" not in settings.model_fields_set and guidance_note(GUIDANCE, graph, drop):
        print("note: no guidance by default, because it was not trained (the recipe's drop is 0 or 1)", file=sys.stderr)
    return fit_settings(settings, graph, drop, guidance=GUIDANCE)


def _check_options(count: int, output: Path | None, previews: Path | None) -> None:
    """Check, before any work, that the options make sense and that pictures can be written.

    Raises:
        ValueError: An option has no such value.
        OSError: A folder cannot be written.
    """
    if count < 1:
        raise ValueError(f"--count must be at least 1, not {count}")
    if output is not None and output.suffix.lower() in PICTURES:
        raise ValueError(f"--output {output}: a grid is written as .png; any other name is a folder")
    if previews is not None and previews.suffix.lower() != ".png":
        raise ValueError(f"--previews {previews}: a picture is written as .png")
    for path in (output, previews):
        if path is not None:
            _check_writable(path)


def _check_writable(output: Path) -> None:
    """Check that a picture, or a folder of samples, can be written.

    Raises:
        OSError: It cannot.
    """
    from builders.files import check_writable

    if output.suffix.lower() == ".png":
        check_writable(output.parent)
    else:
        check_folder(output)
