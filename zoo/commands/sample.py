"""``zoo sample``: draw images from an entry with weights, or from a checkpoint, and show every level."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from builders.files import check_writable
from builders.sampling.folder import SampleFolder
from builders.sampling.plan import Plan
from registry.weights import load_weights, text_encoder, training_data
from zoo.device import pick_device
from zoo.terminal.progress import CountBar

if TYPE_CHECKING:
    from torch import Tensor

    from builders.networks.nested_unet import NestedUNet
    from builders.sampling.generation import SamplerSettings
    from builders.sampling.plan import Data
    from builders.text.encoder import TextEncoder

__all__ = ["sample_command"]

#: What is meant for a picture and not for a folder.
PICTURES = (".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".svg", ".pdf")
#: More samples than this are no picture any more.
MOST_IN_GRID = 400
#: So many samples, the first ones, are shown on their way.
PREVIEWED = 4
#: Of a folder, the grid shows at most so many samples.
SHOWN = 40


def sample_command(
    what: str,
    *,
    classes: Sequence[str] = (),
    prompts: Sequence[str] = (),
    text_encoder_name: str | None = None,
    count: int = 2,
    settings: SamplerSettings | None = None,
    seed: int = 0,
    out: Path = Path("samples.png"),
    device: str | None = None,
    nearest: bool = True,
    previews: Path | None = None,
    quiet: bool = False,
) -> Path:
    """Draw samples and write them.

    Args:
        what: name of an entry that has weights, path of a checkpoint, or of a folder with checkpoints.
        classes: names or indices of classes; by default all.
        prompts: what to draw, for a model that reads text.
        text_encoder_name: of prompts; by default the one the model was trained with.
        count: samples of each class or prompt, or in all where the model has neither.
        settings: sampler, steps, guidance, limits; by default DDIM with 50 steps and guidance 2.
        seed: of the first sample; each further one takes the next.
        out: a ``.png`` for a grid of all levels, or a folder for every image, written as it is drawn, and a grid. A
            folder that was begun goes on.
        device: where to run, such as "cuda" or "cpu"; by default a GPU if there is one.
        nearest: show the nearest training image beside each sample, where the data is at hand.
        previews: a ``.png`` that shows how the first samples come about.
        quiet: show no progress.

    Returns:
        The path of the grid.

    Raises:
        ValueError, LookupError: an argument that does not fit, no such entry, or an entry without weights.
    """
    if count < 1:
        raise ValueError(f"--count must be at least 1, not {count}")
    if out.suffix.lower() in PICTURES:
        raise ValueError(f"--output {out}: a grid is written as .png; any other name is a folder")
    if previews is not None and previews.suffix.lower() != ".png":
        raise ValueError(f"--previews {previews}: a picture is written as .png")
    for picture in ([out] if out.suffix.lower() == ".png" else []) + ([previews] if previews is not None else []):
        check_writable(picture.parent)  # before the work that would be lost
    from builders.sampling.generation import SamplerSettings

    settings = settings or SamplerSettings(guidance_scale=2.0)
    model, metadata = load_weights(what, pick_device(device))
    data = training_data(metadata)
    plan = Plan.make(model.graph, data, classes, prompts, count, seed)
    encoder = text_encoder(model, metadata, text_encoder_name)
    drawing = _Drawing(model, plan, settings, encoder, previews, quiet)
    title = f"{model.graph.name}, {_described(settings)}, seeds from {seed}"
    grid_data = data if nearest else None
    if out.suffix.lower() == ".png":
        return _to_grid(drawing, out, grid_data, title)
    facts = {"model": model.graph.name, "weights": metadata.get("content", "")[:16], **settings.model_dump()}
    if encoder is not None:
        facts["text_encoder"] = encoder.fingerprint[:16]
    return _to_folder(drawing, SampleFolder(out, plan, model.labels, facts), grid_data, title)


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
        raise ValueError(f"{count:,} samples are too many for a picture (at most {MOST_IN_GRID}); give a folder to -o")
    batches: list[list[Tensor]] = []
    drawing.run(range(count), lambda rows, levels: batches.append(levels))
    levels = [torch.cat(level) for level in zip(*batches, strict=True)]
    return save_image(_grid(levels, drawing.plan.captions, data, title), out)


def _to_folder(drawing: _Drawing, folder: SampleFolder, data: Data, title: str) -> Path:
    from builders.pictures import save_image

    missing, count = folder.missing(), len(drawing.plan)
    rows = missing if drawing.previews is None else sorted({*missing, *range(min(PREVIEWED, count))})
    if len(missing) < count and not drawing.quiet:
        print(f"{count - len(missing):,} of {count:,} samples are there already", file=sys.stderr)
    try:
        drawing.run(rows, folder.write)
    except KeyboardInterrupt:
        done = count - len(folder.missing())
        print(f"\n{done:,} of {count:,} samples are in {folder.folder}; the same command goes on", file=sys.stderr)
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
