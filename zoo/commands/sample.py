"""``zoo sample``: draw images from an entry with weights, or from a checkpoint, and show every level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from registry.weights import load_weights, training_data
from registry.weights import text_encoder as open_encoder
from zoo.device import pick_device

if TYPE_CHECKING:
    from torch import Tensor

    from builders.data import Dataset
    from builders.mixture import Mixture
    from builders.network import NestedUNet

__all__ = ["SampleBar", "sample_command"]


def sample_command(
    what: str,
    *,
    classes: Sequence[str] = (),
    prompts: Sequence[str] = (),
    text_encoder: str | None = None,
    count: int = 2,
    steps: int = 50,
    sampler: str = "ddim",
    guidance: float = 2.0,
    seed: int = 0,
    out: Path = Path("samples.png"),
    device: str | None = None,
    nearest: bool = True,
) -> Path:
    """Draw samples and write them.

    Args:
        what: name of an entry that has weights, path of a checkpoint, or of a folder with checkpoints.
        classes: names or indices of classes; by default all.
        prompts: what to draw, for a model that reads text.
        text_encoder: of prompts; by default the one the model was trained with.
        count: samples of each class or prompt, or in all where the model has neither.
        steps: denoising steps.
        sampler: "ddim", "ddpm" or "dpm++".
        guidance: scale of classifier-free guidance; 1 is none.
        seed: of the first sample; each further one takes the next.
        out: a ``.png`` for a grid of all levels, or a folder for the grid and every image.
        device: where to run, such as "cuda" or "cpu"; by default a GPU if there is one.
        nearest: show the nearest training image beside each sample, where the data is at hand.

    Returns:
        The path of the grid.

    Raises:
        ValueError, LookupError: an argument that does not fit, no such entry, or an entry without weights.
    """
    if count < 1:
        raise ValueError(f"--count must be at least 1, not {count}")
    from builders.generation import Request, SamplerSettings, draw_all

    model, metadata = load_weights(what, pick_device(device))
    data = training_data(metadata)
    encoder = open_encoder(model, metadata, text_encoder)
    plan = _Plan.of(model, data, classes, count, seed)
    if encoder is not None:
        plan = _Plan.of_prompts(model.graph.name, prompts, count, seed)
    elif prompts:
        raise ValueError(f"{model.graph.name} reads no text and takes no --prompt")
    settings = SamplerSettings(sampler, steps, guidance)
    with SampleBar(len(plan.seeds) * steps) as advance:
        request = Request(plan.seeds, plan.classes, plan.captions if encoder is not None else None)
        levels = draw_all(model, request, settings, encoder=encoder, progress=advance)
    title = f"{model.graph.name}, {sampler}, {steps} steps, guidance {guidance:g}, seeds from {seed}"
    return _write(levels, plan, data if nearest else None, out, title, model.labels)


@dataclass(frozen=True)
class _Plan:
    """What to draw: for each sample a class (None without classes), its name, and a seed."""

    classes: tuple[int, ...] | None
    captions: tuple[str, ...]
    seeds: tuple[int, ...]

    @staticmethod
    def of_prompts(name: str, prompts: Sequence[str], count: int, seed: int) -> _Plan:
        if not prompts:
            raise ValueError(f"{name} reads text: say what to draw with --prompt")
        captions = tuple(prompt for prompt in prompts for _ in range(count))
        return _Plan(None, captions, tuple(range(seed, seed + len(captions))))

    @staticmethod
    def of(model: NestedUNet, data: Dataset | Mixture | None, classes: Sequence[str], count: int, seed: int) -> _Plan:
        number = model.graph.classes
        if number is None:
            if classes:
                raise ValueError(f"{model.graph.name} has no classes")
            seeds = tuple(range(seed, seed + count))
            return _Plan(None, tuple(f"seed {s}" for s in seeds), seeds)
        names = data.classes if data is not None and len(data.classes) == number else ()
        chosen = [_class(name, number, data if names else None) for name in classes] or list(range(number))
        indices = tuple(index for index in chosen for _ in range(count))
        captions = tuple(names[index] if names else f"class {index}" for index in indices)
        return _Plan(indices, captions, tuple(range(seed, seed + len(indices))))


def _class(name: str, number: int, data: Dataset | Mixture | None) -> int:
    if data is not None:
        return data.class_index(name)
    if not name.isdecimal() or int(name) >= number:
        raise ValueError(
            f"--class {name}: the names of the classes are not at hand; give a number from 0 to {number - 1}"
        )
    return int(name)


class SampleBar:
    """A progress bar on stderr, counting the denoising steps of all samples, which leaves nothing behind."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("sampling"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self.task = self.progress.add_task("sampling", total=total)

    def __enter__(self) -> Callable[[int], object]:
        self.progress.start()
        return lambda samples: self.progress.advance(self.task, samples)

    def __exit__(self, *_: object) -> None:
        self.progress.stop()


def _write(
    levels: list[Tensor], plan: _Plan, data: Dataset | Mixture | None, out: Path, title: str, labels: Sequence[str]
) -> Path:
    from builders.data import to_float
    from builders.evaluation import COMPARED
    from builders.images import nearest_to_levels, sample_grid, save_image, to_pil

    closest, texts = None, None
    if data is not None:
        images, captions = data.load(levels[0].shape[-1]).first(COMPARED)
        indices = nearest_to_levels(levels, images)
        closest, texts = to_float(images[indices]), [captions[index] for index in indices.tolist()]
    grid = sample_grid(levels, plan.captions, closest, texts, title=title)
    if out.suffix.lower() == ".png":
        return save_image(grid, out)
    for label, images in zip(labels, levels, strict=True):
        for image, caption, seed in zip(images, plan.captions, plan.seeds, strict=True):
            words = "".join(letter if letter.isalnum() else " " for letter in caption.lower()).split()
            save_image(to_pil(image), out / f"{'-'.join(words)}-{seed}-{label}.png")
    return save_image(grid, out / "grid.png")
