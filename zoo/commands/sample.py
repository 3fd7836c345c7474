"""``zoo sample``: draw images from an entry with weights, or from a checkpoint, and show every level."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from specs.schemas.sampling import SamplerSpec
from zoo.commands.options import (
    SAMPLING,
    Clip,
    Device,
    DynamicThreshold,
    Eta,
    GuidanceInterval,
    Quiet,
    Sampler,
    Seed,
    Steps,
    read_settings,
)
from zoo.early.folder import check_folder, local_output
from zoo.early.weights import check_sampled
from zoo.terminal.completion import complete_trained

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from builders.data.dataset import Dataset
    from builders.data.mixture import Mixture
    from builders.networks.nested_unet import NestedUNet
    from builders.sampling.folder import SampleFolder
    from builders.sampling.plan import Plan
    from builders.text.encoder import TextEncoder
    from specs.graph import EntryGraph

Data: TypeAlias = "Dataset | Mixture | None"
#: Suffixes of pictures that cannot be written; they are not meant as names of folders.
PICTURES = (".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".svg", ".pdf")
#: Largest number of samples in a grid.
MOST_IN_GRID = 400
#: Number of samples, the first ones, in the previews.
PREVIEWED = 4
#: Largest number of samples in the grid of a folder.
SHOWN = 40


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
    seed: Seed = 0,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            callback=local_output,
            help="A .png for a grid, or a folder for any number of images; resumable.",
        ),
    ] = Path("samples.png"),
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
    quiet: Quiet = False,
) -> Path:
    """Draw images at every level."""
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
    )
    check_sampled(entry, classes or (), prompts or (), text_encoder, settings)

    from builders.data.open import open_dataset
    from builders.sampling.folder import SampleFolder
    from builders.sampling.plan import Plan
    from registry import weights
    from registry.evaluation.results import how_drawn
    from zoo.device import pick_device

    model, metadata = weights.load_weights(entry, pick_device(device))
    settings = _fitted(settings, model.graph, weights.recipe_of(metadata).get("drop"))
    known = weights.training_data(metadata) if data is None else open_dataset(data)
    names = weights.class_names(metadata, known)
    plan = Plan.make(model.graph, names, classes or (), prompts or (), count, seed)
    encoder = weights.text_encoder(model, metadata, text_encoder)
    drawing = _Drawing(model, plan, settings, encoder, previews, quiet)
    title = f"{model.graph.name}, {how_drawn(settings.drawn)}, seeds from {seed}"
    grid_data = known if nearest else None
    if nearest and known is None and not quiet:
        _explain(metadata)
    if output.suffix.lower() == ".png":
        grid = _to_grid(drawing, output, grid_data, title)
    else:
        facts = {"model": model.graph.name, "weights": metadata.get("content", "")[:16], **settings.model_dump()}
        if encoder is not None:
            facts["text_encoder"] = encoder.fingerprint[:16]
        folder = SampleFolder(output, plan, model.labels, facts)
        grid = _to_folder(replace(drawing, plan=folder.plan), folder, grid_data, title)
        count, levels = len(folder.plan), ", ".join(model.labels)
        print(
            f"{count:,} sample{'s' * (count > 1)} of every level ({levels}) {'are' if count > 1 else 'is'} in {output}"
        )
    print(f"wrote {grid}")
    return grid


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


def _check_options(count: int, output: Path, previews: Path | None) -> None:
    """Check, before any work, that the options make sense and that pictures can be written.

    Raises:
        ValueError: An option has no such value.
        OSError: A folder cannot be written.
    """
    from builders.files import check_writable

    if count < 1:
        raise ValueError(f"--count must be at least 1, not {count}")
    if output.suffix.lower() in PICTURES:
        raise ValueError(f"--output {output}: a grid is written as .png; any other name is a folder")
    if previews is not None and previews.suffix.lower() != ".png":
        raise ValueError(f"--previews {previews}: a picture is written as .png")
    for picture in (output, previews):
        if picture is not None and picture.suffix.lower() == ".png":
            check_writable(picture.parent)
    if output.suffix.lower() != ".png":
        check_folder(output)


@dataclass(frozen=True)
class _Drawing:
    """A plan, and how to draw it."""

    model: NestedUNet
    plan: Plan
    settings: SamplerSpec
    encoder: TextEncoder | None
    previews: Path | None
    quiet: bool

    def batches(self, rows: Sequence[int]) -> Iterator[tuple[list[int], list[Tensor]]]:
        """Draw some samples of the plan: yield batches of rows and their images by level, then save the previews."""
        from builders.pictures import save_image
        from builders.sampling.generation import draw
        from builders.sampling.previews import Previews, preview_sheet
        from zoo.terminal.progress import count_bar

        steps, request = self.settings.num_inference_steps, self.plan.request(rows)
        previews = Previews(steps, PREVIEWED) if self.previews is not None and rows else None
        with count_bar("sampling", len(rows) * steps, "steps", self.quiet) as advance:
            batches = draw(self.model, request, self.settings, encoder=self.encoder, progress=advance, preview=previews)
            for found, levels in batches:
                yield [rows[index] for index in found], levels
        if self.previews is not None and previews is not None:
            captions = [self.plan.captions[row] for row in rows[:PREVIEWED]]
            save_image(preview_sheet(previews, captions), self.previews)


def _to_grid(drawing: _Drawing, output: Path, data: Data, title: str) -> Path:
    import torch

    from builders.pictures import save_image

    count = len(drawing.plan)
    if count > MOST_IN_GRID:
        raise ValueError(f"{count:,} samples are too many for a grid (at most {MOST_IN_GRID}); use --output FOLDER")
    batches = [levels for _, levels in drawing.batches(range(count))]
    levels = [torch.cat(level) for level in zip(*batches, strict=True)]
    return save_image(_grid(levels, drawing.plan.captions, data, title), output)


def _to_folder(drawing: _Drawing, folder: SampleFolder, data: Data, title: str) -> Path:
    from builders.pictures import save_image

    missing, count = folder.missing(), len(drawing.plan)
    rows = missing if drawing.previews is None else sorted({*missing, *range(min(PREVIEWED, count))})
    if len(missing) < count and not drawing.quiet:
        print(f"{count - len(missing):,} of {count:,} samples exist already", file=sys.stderr)
    try:
        for batch, levels in drawing.batches(rows):
            folder.write(batch, levels)
    except KeyboardInterrupt:
        done = count - len(folder.missing())
        print(f"\n{done:,} of {count:,} samples are saved; run the same command to resume", file=sys.stderr)
        raise
    shown = min(count, SHOWN)
    rows = [index * count // shown for index in range(shown)]
    captions = [drawing.plan.captions[row] for row in rows]
    return save_image(_grid(folder.read(rows), captions, data, title), folder.folder / "grid.png")


def _grid(levels: list[Tensor], captions: Sequence[str], data: Data, title: str) -> Image:
    """Return a grid of samples, the nearest training image beside each."""
    from builders.pictures import sample_grid
    from builders.pixels import to_float
    from builders.sampling.nearest import nearest_to_levels
    from builders.training.validation import most_compared

    closest, texts = None, None
    if data is not None:
        side = levels[0].shape[-1]
        images, known = data.load(side).first(most_compared(side))
        indices = nearest_to_levels(levels, images)
        closest, texts = to_float(images[indices]), [known[index] for index in indices.tolist()]
    return sample_grid(levels, captions, closest, texts, title=title)
