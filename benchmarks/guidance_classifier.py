"""Effect of guidance: how often a classifier of emoji assigns samples to the class they were drawn for.

The classifier is a logistic regression on EfficientNet-lite0 features of real emoji at the samples' resolution. Its
accuracy on the validation emoji should be at least 60 %. Samples with the same seeds and classes are classified at each
guidance scale. Intervals are 95 % bootstrap intervals over the samples.

    python benchmarks/guidance_classifier.py
    python benchmarks/guidance_classifier.py --samples 400 --guidance 1 3
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch
from torch import Tensor, nn

from builders.data.open import open_dataset
from builders.pixels import to_bytes
from builders.sampling.generation import Request, SamplerSettings, draw
from registry.evaluation.features import Extractor, extract, open_features
from registry.weights import load_weights

REPLICATES = 2000


class Classifier:
    """Logistic regression on standardized features.

    Args:
        features: Features, (N, width).
        classes: Class indices, (N,).
        count: Number of classes.
        decay: L2 penalty of the weights.
    """

    def __init__(self, features: np.ndarray, classes: Tensor, count: int, decay: float = 1e-2) -> None:
        self.mean, self.deviation = features.mean(0), features.std(0) + 1e-6
        x = self._standardized(features)
        torch.manual_seed(0)
        self.linear = nn.Linear(x.shape[1], count)
        nn.init.zeros_(self.linear.weight)
        optimizer = torch.optim.LBFGS(self.linear.parameters(), max_iter=200, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = nn.functional.cross_entropy(self.linear(x), classes) + decay * self.linear.weight.square().sum()
            value.backward()
            return value

        optimizer.step(loss)

    def _standardized(self, features: np.ndarray) -> Tensor:
        return torch.from_numpy((features - self.mean) / self.deviation).float()

    @torch.no_grad()
    def hits(self, features: np.ndarray, classes: Tensor) -> np.ndarray:
        """Return whether each sample is assigned to its class, (N,) bool."""
        return (self.linear(self._standardized(features)).argmax(1) == classes).numpy()


def interval(hits: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the share of hits."""
    generator = np.random.default_rng(seed)
    shares = generator.binomial(len(hits), hits.mean(), REPLICATES) / len(hits)
    low, high = np.quantile(shares, (0.025, 0.975))
    return float(low), float(high)


def train_classifier(data: str, resolution: int, extractor: Extractor) -> tuple[Classifier, float]:
    """Train a classifier of a data set's classes; return it and its accuracy on the validation split."""
    dataset = open_dataset(data)
    train, val = (dataset.load(resolution, split) for split in ("train", "val"))
    features = [extract(extractor, iter(part.images.split(32)))[0] for part in (train, val)]
    classifier = Classifier(features[0], train.classes, len(dataset.classes))
    return classifier, float(classifier.hits(features[1], val.classes).mean())


def rate(entry: str, data: str, guidance: list[float], samples: int, steps: int) -> dict[str, object]:
    """Return the classifier's accuracy on real images, and on samples at each guidance scale."""
    model, metadata = load_weights(entry)
    extractor = open_features()
    classifier, accuracy = train_classifier(data, model.graph.resolution, extractor)
    print(f"validation images: {accuracy:.3f}", flush=True)
    result: dict[str, object] = {"weights": metadata["content"][:16], "samples": samples, "val_accuracy": accuracy}
    count = model.graph.classes or 1
    wanted = torch.arange(samples) % count
    for scale in guidance:
        request = Request(tuple(range(samples)), tuple(wanted.tolist()))
        batches = draw(model, request, SamplerSettings("dpm++", steps, scale))
        pixels = torch.cat([to_bytes(levels[0].clamp(-1, 1)) for _, levels in batches])
        hits = classifier.hits(extract(extractor, iter(pixels.split(32)))[0], wanted)
        result[f"guidance {scale:g}"] = {"share": float(hits.mean()), "interval": interval(hits)}
        print(f"guidance {scale:g}: {hits.mean():.3f}, {interval(hits)}", flush=True)
    return result


def main() -> None:
    """Measure and print the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entry", default="mdm-nano", help="Entry with weights, or a checkpoint.")
    parser.add_argument("--data", default="noto-emoji-64", help="Data set of real images.")
    parser.add_argument("--samples", type=int, default=300, help="Number of samples.")
    parser.add_argument("--steps", type=int, default=20, help="Denoising steps (DPM-Solver++).")
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 3.0], help="Guidance scales.")
    options = parser.parse_args()
    print(json.dumps(rate(options.entry, options.data, options.guidance, options.samples, options.steps), indent=2))


if __name__ == "__main__":
    main()
