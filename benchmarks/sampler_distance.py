"""DPM-Solver++ with 20 steps against DDIM with 100: the ratio of their distances from real images.

Both draw the same classes with the same seeds. The interval is a paired bootstrap: each replicate resamples the same
indices of both sets of samples, with the reference fixed, so that variation common to both cancels in the ratio.

With ``--solution``, the root mean squared distance of samples of few steps from those of many is printed instead, for
times even in the index and even in log-SNR.

    python benchmarks/sampler_distance.py
    python benchmarks/sampler_distance.py --level r64 --samples 1000
    python benchmarks/sampler_distance.py --level r16 --samples 32 --solution 250
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch

from builders.networks.nested_unet import NestedUNet, build_model
from builders.pixels import to_bytes
from builders.sampling.generation import Request, SamplerSettings, class_shares, draw, draw_all
from registry.evaluation.distances import FrechetReference, KernelReference
from registry.evaluation.feature_cache import reference_features
from registry.evaluation.features import Extractor, extract, open_features
from registry.evaluation.image_sets import open_images
from registry.weights import load_weights

REPLICATES = 200


def level_of(model: NestedUNet, label: str) -> NestedUNet:
    """Return a level and its inner levels as a model of its own."""
    if label == model.labels[0]:
        return model
    inner = build_model(model.graph.inner(label), model.device)
    names = inner.state_dict().keys()
    inner.load_state_dict({name: value for name, value in model.state_dict().items() if name in names})
    return inner.eval()


def features_of(
    model: NestedUNet, request: Request, settings: SamplerSettings, extractor: Extractor
) -> tuple[np.ndarray, float]:
    """Return features (N, width) of samples at the highest resolution, and the seconds of drawing them."""
    started = time.perf_counter()
    images = torch.cat([levels[0] for _, levels in draw(model, request, settings)])
    seconds = time.perf_counter() - started
    pixels = to_bytes(images.clamp(-1, 1))
    return extract(extractor, iter(pixels.split(32)))[0], seconds


def paired_ratios(
    few: np.ndarray, many: np.ndarray, reference: FrechetReference, seed: int = 0, replicates: int = REPLICATES
) -> np.ndarray:
    """Return ratios of the Frechet distances of ``few`` and ``many``, on replicates with the same rows of both."""
    generator = np.random.default_rng(seed)
    ratios = []
    for _ in range(replicates):
        rows = generator.integers(0, len(few), len(few))
        ratios.append(reference.distance(few[rows]) / reference.distance(many[rows]))
    return np.array(ratios)


def print_distances_from_solution(model: NestedUNet, samples: int, guidance: float, solution: int) -> None:
    """Print the distances of samples of DPM-Solver++ from those of many steps, averaged over all levels."""
    shares = class_shares((1,) * (model.graph.classes or 1), samples)
    request = Request(tuple(range(samples)), shares if model.graph.classes else None)

    def drawn(steps: int, spacing: str) -> list[torch.Tensor]:
        return draw_all(model, request, SamplerSettings("dpm++", steps, guidance, spacing=spacing))

    exact = drawn(solution, "logsnr")
    for steps in (5, 10, 20, 50):
        found = {}
        for spacing in ("index", "logsnr"):
            pairs = zip(drawn(steps, spacing), exact, strict=True)
            found[spacing] = float(np.mean([(a - b).square().mean().sqrt().item() for a, b in pairs]))
        print(f"{steps} steps: " + ", ".join(f"{spacing} {value:.4f}" for spacing, value in found.items()), flush=True)


def main() -> None:
    """Measure and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entry", default="mdm-nano", help="Entry with weights, or a checkpoint.")
    parser.add_argument("--level", default="r16", help="Level to sample, with its inner levels.")
    parser.add_argument("--data", default="noto-emoji-64", help="Reference data set.")
    parser.add_argument("--samples", type=int, default=1000, help="Number of samples per sampler.")
    parser.add_argument("--guidance", type=float, default=1.0, help="Guidance scale.")
    parser.add_argument("--spacing", default="index", help="Spacing of the times: index or logsnr.")
    parser.add_argument("--solution", type=int, metavar="STEPS", help="Print distances from so many steps instead.")
    options = parser.parse_args()
    whole, metadata = load_weights(options.entry)
    model = level_of(whole, options.level)
    if options.solution:
        print_distances_from_solution(model, options.samples, options.guidance, options.solution)
        return
    extractor = open_features()
    images = open_images(options.data, model.graph.resolution, "train")
    features = reference_features(images, extractor)
    reference = FrechetReference(features)
    classes = class_shares(images.class_counts or (1,) * (model.graph.classes or 1), options.samples)
    request = Request(tuple(range(options.samples)), classes)
    found, seconds = {}, {}
    for name, sampler, steps in (("dpm++ 20", "dpm++", 20), ("ddim 100", "ddim", 100)):
        settings = SamplerSettings(sampler, steps, options.guidance, spacing=options.spacing)
        found[name], seconds[name] = features_of(model, request, settings, extractor)
        print(f"{name}: {seconds[name]:.0f} s", flush=True)
    ratios = paired_ratios(found["dpm++ 20"], found["ddim 100"], reference)
    low, high = np.quantile(ratios, (0.025, 0.975))
    kernel = KernelReference(features)
    distances = {name: reference.distance(value) for name, value in found.items()}
    result = {
        "entry": options.entry,
        "level": options.level,
        "weights": metadata["content"][:16],
        "samples": options.samples,
        "guidance": options.guidance,
        "spacing": options.spacing,
        "features": extractor.name,
        "reference": f"{images.name} {images.split}, {len(images.images)} images",
        "frechet": distances,
        "kernel": {name: kernel.distance(value) for name, value in found.items()},
        "ratio": distances["dpm++ 20"] / distances["ddim 100"],
        "ratio_interval": [float(low), float(high)],
        "seconds": seconds,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
