"""``zoo sample``: draw images from an entry with weights, or from a checkpoint, and show every level."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.commands.options import (
    Clip,
    Device,
    DynamicThreshold,
    Eta,
    Guidance,
    GuidanceInterval,
    Quiet,
    Sampler,
    Steps,
)

if TYPE_CHECKING:
    from torch import Tensor

    from builders.networks.nested_unet import NestedUNet
    from builders.sampling.folder import SampleFolder
    from builders.sampling.generation import SamplerSettings
    from builders.sampling.plan import Data, Plan
    from builders.text.encoder import TextEncoder

#: Suffixes of pictures that cannot be written; they are not meant as names of folders.
PICTURES = (".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".svg", ".pdf")
#: Largest number of samples in a grid.
MOST_IN_GRID = 400
#: Number of samples, the first ones, in the previews.
PREVIEWED = 4
#: Largest number of samples in the grid of a folder.
SHOWN = 40


def sample(
    entry: Annotated[str, typer.Argument(metavar="WHAT", help="An entry with weights, a checkpoint, or its folder.")],
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", "-c", metavar="CLASS", help="Name or number of a class; repeatable. Default: all."),
    ] = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option("--prompt", "-p", metavar="TEXT", help="Prompt, for a model that reads text; repeatable."),
    ] = None,
    text_encoder: Annotated[
        str | None, typer.Option(help="Text encoder: embedded, a T5 by name, or a folder. Default: as in training.")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", help="Number of samples per class or prompt.")] = 2,
    steps: Steps = 50,
    sampler: Sampler = "ddim",
    eta: Eta = 0.0,
    guidance: Guidance = 2.0,
    guidance_interval: GuidanceInterval = (0.0, 1.0),
    dynamic_threshold: DynamicThreshold = None,
    clip: Clip = True,
    seed: Annotated[int, typer.Option(help="Seed of the first sample; each further one takes the next.")] = 0,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A .png for a grid, or a folder for any number of images (resumes).")
    ] = Path("samples.png"),
    previews: Annotated[
        Path | None, typer.Option(help="A .png of the predicted images during sampling, for the first samples.")
    ] = None,
    device: Device = None,
    nearest: Annotated[bool, typer.Option(help="Show the nearest training image beside each sample.")] = True,
    quiet: Quiet = False,
) -> Path:
    """Draw images at every level."""
    _check_options(count, output, previews)

    from builders.sampling.folder import SampleFolder
    from builders.sampling.generation import SamplerSettings
    from builders.sampling.plan import Plan
    from registry import weights
    from zoo.device import pick_device

    settings = SamplerSettings(sampler, steps, guidance, guidance_interval, eta, clip, dynamic_threshold)
    model, metadata = weights.load_weights(entry, pick_device(device))
    data = weights.training_data(metadata)
    plan = Plan.make(model.graph, data, classes or (), prompts or (), count, seed)
    encoder = weights.text_encoder(model, metadata, text_encoder)
    drawing = _Drawing(model, plan, settings, encoder, previews, quiet)
    title = f"{model.graph.name}, {_described(settings)}, seeds from {seed}"
    grid_data = data if nearest else None
    if output.suffix.lower() == ".png":
        grid = _to_grid(drawing, output, grid_data, title)
    else:
        facts = {"model": model.graph.name, "weights": metadata.get("content", "")[:16], **settings.model_dump()}
        if encoder is not None:
            facts["text_encoder"] = encoder.fingerprint[:16]
        grid = _to_folder(drawing, SampleFolder(output, plan, model.labels, facts), grid_data, title)
    print(f"wrote {grid}")
    return grid


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


class _Drawing:
    """A plan, and how it is drawn."""

    def __init__(
        self,
        model: NestedUNet,
        plan: Plan,
        settings: SamplerSettings,
        encoder: TextEncoder | None,
        previews: Path | None,
        quiet: bool,
    ) -> None:
        self.model, self.plan, self.settings, self.encoder = model, plan, settings, encoder
        self.previews, self.quiet = previews, quiet

    def run(self, rows: Sequence[int], take: Callable[[Sequence[int], list[Tensor]], object]) -> None:
        """Draw some samples of the plan; ``take`` is given each batch as it is ready."""
        from builders.sampling.generation import draw
        from zoo.terminal.progress import CountBar

        steps, request = self.settings.num_inference_steps, self.plan.request(rows)
        previews, preview = None, None
        if self.previews is not None and rows:
            from builders.sampling.previews import Previews

            previews = Previews(steps, PREVIEWED)
            preview = previews
        with CountBar("sampling", len(rows) * steps, "steps", self.quiet) as advance:
            options = {"encoder": self.encoder, "progress": advance, "preview": preview}
            for found, levels in draw(self.model, request, self.settings, **options):  # type: ignore[arg-type]
                take([rows[index] for index in found], levels)
        if previews is not None:
            from builders.pictures import save_image
            from builders.sampling.previews import preview_sheet

            captions = [self.plan.captions[row] for row in rows[: previews.samples]]
            save_image(preview_sheet(previews, captions), self.previews)  # type: ignore[arg-type]


def _to_grid(drawing: _Drawing, out: Path, data: Data, title: str) -> Path:
    import torch

    from builders.pictures import save_image

    count = len(drawing.plan)
    if count > MOST_IN_GRID:
        raise ValueError(f"{count:,} samples are too many for a grid (at most {MOST_IN_GRID}); use --output FOLDER")
    batches: list[list[Tensor]] = []
    drawing.run(range(count), lambda rows, levels: batches.append(levels))
    levels = [torch.cat(level) for level in zip(*batches, strict=True)]
    return save_image(_grid(levels, drawing.plan.captions, data, title), out)


def _to_folder(drawing: _Drawing, folder: SampleFolder, data: Data, title: str) -> Path:
    from builders.pictures import save_image

    missing, count = folder.missing(), len(drawing.plan)
    rows = missing if drawing.previews is None else sorted({*missing, *range(min(PREVIEWED, count))})
    if len(missing) < count and not drawing.quiet:
        print(f"{count - len(missing):,} of {count:,} samples exist already", file=sys.stderr)
    try:
        drawing.run(rows, folder.write)
    except KeyboardInterrupt:
        done = count - len(folder.missing())
        print(f"\n{done:,} of {count:,} samples are saved; run the same command to resume", file=sys.stderr)
        raise
    shown = min(count, SHOWN)
    rows = [index * count // shown for index in range(shown)]
    captions = [drawing.plan.captions[row] for row in rows]
    return save_image(_grid(folder.read(rows), captions, data, title), folder.folder / "grid.png")


def _grid(levels: list[Tensor], captions: Sequence[str], data: Data, title: str):  # type: ignore[no-untyped-def]
    """A picture of samples, the nearest training image beside each."""
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


def _described(settings: SamplerSettings) -> str:
    """How samples were drawn, in a few words: what is not usual is told."""
    low, high = settings.guidance_interval
    parts = [settings.sampler, f"{settings.num_inference_steps} steps", f"guidance {settings.guidance_scale:g}"]
    parts += [f"from {low:g} to {high:g}"] if (low, high) != (0, 1) else []
    parts += [f"eta {settings.eta:g}"] if settings.eta else []
    parts += [f"dynamic threshold {settings.dynamic_threshold:g}"] if settings.dynamic_threshold is not None else []
    parts += ["not clipped"] if not settings.clip else []
    return ", ".join(parts)
