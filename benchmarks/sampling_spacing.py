"""DPM-Solver++ with times even in log-SNR against twice the steps with times even in the index.

Both draw the same classes or prompts with the same seeds. The ratios are those of the distances from real images, with
intervals of a paired bootstrap: each replicate resamples the same rows of both sets, with the reference fixed. Samples
and their features are saved block by block, both settings in turn, so that an interrupted run resumes, and may be
reported before all are drawn.

    OMP_NUM_THREADS=1 python -m benchmarks.sampling_spacing --entry mdm-nano
    OMP_NUM_THREADS=1 python -m benchmarks.sampling_spacing --entry mdm-nano.text
    OMP_NUM_THREADS=1 python -m benchmarks.sampling_spacing --entry mdm-nano --report
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.sampler_distance import paired_ratios
from builders.files import replacing
from builders.networks.nested_unet import NestedUNet
from builders.pixels import to_bytes
from builders.sampling.generation import Request, SamplerSettings, class_shares, draw
from builders.text.encoder import TextEncoder
from registry.evaluation.distances import FrechetReference, KernelReference
from registry.evaluation.feature_cache import reference_features
from registry.evaluation.features import Extractor, extract, open_features
from registry.evaluation.image_sets import ImageSet, open_images
from registry.weights import load_weights, text_encoder

BLOCK = 25


@dataclass(frozen=True)
class Drawn:
    """Where the samples of one setting are saved.

    Attributes:
        settings: Sampler settings.
        folder: Folder of the blocks, ``0000.npz`` with the images of every level and the features of the outermost.
    """

    settings: SamplerSettings
    folder: Path

    @property
    def name(self) -> str:
        """Steps and spacing: ``10 logsnr``."""
        return f"{self.settings.num_inference_steps} {self.settings.spacing}"

    def path(self, block: int) -> Path:
        """Return the file of a block."""
        return self.folder / f"{block:04}.npz"

    def add(
        self, block: int, model: NestedUNet, request: Request, encoder: TextEncoder | None, extractor: Extractor
    ) -> float:
        """Draw a block and save it; return the CPU seconds of the sampler."""
        started = time.process_time()
        levels = [[to_bytes(level.clamp(-1, 1)) for level in found] for _, found in draw(
            model, request, self.settings, encoder=encoder
        )]  # fmt: skip
        seconds = time.process_time() - started
        images = {label: torch.cat(each) for label, each in zip(model.labels, zip(*levels, strict=True), strict=True)}
        features = extract(extractor, iter([images[model.labels[0]]]))[0]
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.path(block)) as temporary, temporary.open("wb") as file:
            arrays = {label: each.numpy() for label, each in images.items()}
            np.savez(file, features=features, seconds=seconds, **arrays)
        return seconds

    def read(self, blocks: int) -> tuple[np.ndarray, float]:
        """Return the features (N, width) of the blocks that are there, up to a number of them, and the CPU seconds."""
        found = [np.load(self.path(block)) for block in range(blocks)]
        return np.concatenate([each["features"] for each in found]), float(sum(each["seconds"] for each in found))


def request_of(model: NestedUNet, reference: ImageSet, samples: int) -> Request:
    """Return a seed for each sample, with classes in the proportions of the reference, or its captions."""
    seeds = tuple(range(samples))
    if model.graph.text is not None:
        known = [caption for caption in reference.captions if caption]
        return Request(seeds, prompts=tuple(known[index * len(known) // samples] for index in range(samples)))
    if model.graph.classes is None:
        return Request(seeds)
    return Request(seeds, class_shares(reference.class_counts or (1,) * model.graph.classes, samples))


def blocks_of(request: Request) -> Iterator[Request]:
    """Yield parts of a request; each has rows from all of it, so that each has nearly all classes."""
    count = -(-len(request.seeds) // BLOCK)
    for block in range(count):
        yield Request(
            request.seeds[block::count],
            request.classes and request.classes[block::count],
            request.prompts and request.prompts[block::count],
        )


def kernel_ratios(few: np.ndarray, many: np.ndarray, reference: np.ndarray, replicates: int) -> np.ndarray:
    """Return ratios of the kernel distances (KID), on replicates with the same rows of both."""
    generator, parts = np.random.default_rng(0), []
    width = reference.shape[1]

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a.astype(np.float64) @ b.astype(np.float64).T / width + 1) ** 3

    real = kernel(reference, reference)
    inside = (real.sum() - np.trace(real)) / (len(reference) * (len(reference) - 1))
    for features in (few, many):
        own = kernel(features, features)
        np.fill_diagonal(own, 0)
        parts.append((own, kernel(features, reference).mean(1)))
    found = []
    for _ in range(replicates):
        weights = np.bincount(generator.integers(0, len(few), len(few)), minlength=len(few)).astype(np.float64)
        # Pairs of one sample with itself are left out, also where a replicate has it twice.
        pairs = weights.sum() ** 2 - (weights**2).sum()
        few_kid, many_kid = (
            weights @ own @ weights / pairs + inside - 2 * weights @ across / weights.sum() for own, across in parts
        )
        found.append(few_kid / many_kid)
    return np.array(found)


def report(few: Drawn, many: Drawn, blocks: int, reference: np.ndarray, replicates: int) -> dict[str, object]:
    """Return the distances of two settings and their ratios with intervals."""
    (few_features, few_seconds), (many_features, many_seconds) = few.read(blocks), many.read(blocks)
    frechet, kernel = FrechetReference(reference), KernelReference(reference)
    sets: Mapping[str, np.ndarray] = {few.name: few_features, many.name: many_features}
    distances = {name: frechet.distance(each) for name, each in sets.items()}
    kernels = {name: kernel.distance(each) for name, each in sets.items()}

    def interval(ratios: np.ndarray) -> list[float]:
        return [round(float(end), 4) for end in np.quantile(ratios, (0.025, 0.975))]

    return {
        "samples": len(few_features),
        "frechet": distances,
        "frechet_ratio": round(distances[few.name] / distances[many.name], 4),
        "frechet_interval": interval(paired_ratios(few_features, many_features, frechet, replicates=replicates)),
        "kernel": kernels,
        "kernel_ratio": round(kernels[few.name] / kernels[many.name], 4),
        "kernel_interval": interval(kernel_ratios(few_features, many_features, reference, 2000)),
        "cpu_seconds": {few.name: few_seconds, many.name: many_seconds},
    }


def main() -> None:
    """Draw what is missing and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entry", default="mdm-nano", help="Entry with weights, or a checkpoint.")
    parser.add_argument("--data", default="noto-emoji-64", help="Reference data set.")
    parser.add_argument("--samples", type=int, default=1000, help="Number of samples per setting.")
    parser.add_argument("--guidance", type=float, default=1.0, help="Guidance scale.")
    parser.add_argument("--steps", type=int, default=10, help="Steps even in log-SNR.")
    parser.add_argument("--against", type=int, default=20, help="Steps even in the index.")
    parser.add_argument("--replicates", type=int, default=200, help="Replicates of the Frechet distance.")
    parser.add_argument("--folder", type=Path, default=Path("runs/sampling-spacing"), help="Folder of saved blocks.")
    parser.add_argument("--report", action="store_true", help="Draw nothing; report what is there.")
    options = parser.parse_args()
    model, metadata = load_weights(options.entry)
    model.eval()
    extractor = open_features()
    images = open_images(options.data, model.graph.resolution, "train")
    blocks = list(blocks_of(request_of(model, images, options.samples)))
    common = options.folder / f"{model.graph.name}-{metadata['content'][:8]}-{options.samples}-g{options.guidance:g}"
    drawn = [
        Drawn(SamplerSettings("dpm++", steps, options.guidance, spacing=spacing), common / f"{steps}-{spacing}")
        for steps, spacing in ((options.steps, "logsnr"), (options.against, "index"))
    ]
    if not options.report:
        encoder = text_encoder(model, metadata)
        for number, part in enumerate(blocks):
            for each in drawn:
                if not each.path(number).is_file():
                    seconds = each.add(number, model, part, encoder, extractor)
                    print(f"block {number + 1} of {len(blocks)}, {each.name}: {seconds:.1f} CPU s", flush=True)
    ready = next((n for n in range(len(blocks)) if not all(each.path(n).is_file() for each in drawn)), len(blocks))
    features = reference_features(images, extractor)
    result = {"entry": options.entry, "weights": metadata["content"][:16], "guidance": options.guidance}
    print(json.dumps(result | report(*drawn, ready, features, options.replicates), indent=2))


if __name__ == "__main__":
    main()
