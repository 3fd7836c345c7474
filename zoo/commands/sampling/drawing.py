"""Drawing the samples of a plan, into a grid or a folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from specs.schemas.sampling import SamplerSpec
from zoo.commands.sampling.clips import ClipOptions

if TYPE_CHECKING:
    from torch import Tensor

    from builders.data.dataset import Dataset
    from builders.data.mixture import Mixture
    from builders.networks.nested_unet import NestedUNet
    from builders.sampling.folder import SampleFolder
    from builders.sampling.grid import Grid
    from builders.sampling.plan import Plan
    from builders.text.encoder import TextEncoder
    from specs.graph import EntryGraph

__all__ = ["Drawing", "check_grid", "draw_folder", "draw_grid"]

Data: TypeAlias = "Dataset | Mixture | None"
#: Largest number of samples in a grid, of images and of clips.
MOST_IN_GRID, MOST_CLIPS_IN_GRID = 400, 100
#: Number of samples, the first ones, in the previews.
PREVIEWED = 4
#: Largest number of samples in the grid of a folder.
SHOWN = 40


@dataclass(frozen=True)
class Drawing:
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


def check_grid(graph: EntryGraph, count: int) -> None:
    """Check that a picture can show the samples of an entry.

    Raises:
        ValueError: There are too many.
    """
    most = MOST_CLIPS_IN_GRID if graph.is_video else MOST_IN_GRID
    if count > most:
        raise ValueError(f"{count:,} samples are too many for a grid (at most {most}); use --output FOLDER")


def draw_grid(drawing: Drawing, output: Path, data: Data, title: str, clips: ClipOptions) -> list[Path]:
    """Draw all samples into one picture, and for clips an animation beside it; return their paths.

    Args:
        drawing: Samples.
        output: PNG file.
        data: Training data, to show the nearest of it; None to show none.
        title: Line at the top.
        clips: How clips are shown.

    Raises:
        ValueError: There are too many samples for a picture.
        OSError: The picture cannot be written.
    """
    import torch

    count = len(drawing.plan)
    check_grid(drawing.model.graph, count)
    batches = [levels for _, levels in drawing.batches(range(count))]
    levels = [torch.cat(level) for level in zip(*batches, strict=True)]
    return _grid(levels, drawing.plan.captions, data, title, clips).save(output, clips.rate)


def draw_folder(drawing: Drawing, folder: SampleFolder, data: Data, title: str, clips: ClipOptions) -> list[Path]:
    """Draw the samples that a folder lacks, then a grid of some of all; arguments and result as :func:`draw_grid`."""
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
    return _grid(folder.read(rows), captions, data, title, clips).save(folder.folder / "grid.png", clips.rate)


def _grid(levels: list[Tensor], captions: Sequence[str], data: Data, title: str, clips: ClipOptions) -> Grid:
    """Return a grid of samples, the nearest training image or clip beside each."""
    from builders.sampling.grid import grid_of_samples
    from builders.sampling.nearest import most_compared

    training = None
    if data is not None:
        outer = levels[0]
        side, frames = outer.shape[-1], outer.shape[2] if outer.dim() == 5 else 1
        training = data.load(side, frames=frames).first(most_compared(side, frames))
    return grid_of_samples(levels, captions, training, title=title, frames=clips.shown)
