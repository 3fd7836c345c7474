"""Does guidance do what it should: how often a classifier of emoji finds the class that a sample was drawn for.

The classifier is a logistic regression on the features of EfficientNet-lite0 of real emoji at the samples' resolution.
It must find at least 60 % of the held-out real ones; then samples of the same seeds and classes are rated at each
guidance scale. Intervals are 95 % bootstrap intervals over samples.

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
    """Logistic regression on standardised features.

    Args:
        features: (N, width).
        classes: (N,) indices.
        decay: L2 penalty of the weights.
    """

    def __init__(self, features: np.ndarray, classes: Tensor, count: int, decay: float = 1e-2) -> None:
        self.mean, self.deviation = features.mean(0), features.std(0) + 1e-6
        x = self._standardised(features)
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

    def _standardised(self, features: np.ndarray) -> Tensor:
        return torch.from_numpy((features - self.mean) / self.deviation).float()

    @torch.no_grad()
    def hits(self, features: np.ndarray, classes: Tensor) -> np.ndarray:
        """Whether each sample is found to be of its class: (N,) bool."""
        return (self.linear(self._standardised(features)).argmax(1) == classes).numpy()


def interval(hits: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of a share."""
    generator = np.random.default_rng(seed)
    shares = generator.binomial(len(hits), hits.mean(), REPLICATES) / len(hits)
    low, high = np.quantile(shares, (0.025, 0.975))
    return float(low), float(high)


def train_classifier(data: str, resolution: int, extractor: Extractor) -> tuple[Classifier, float]:
    """A classifier of a dataset's classes, and the share of held-out images that it gets right."""
    dataset = open_dataset(data)
    train, held_out = (dataset.load(resolution, split) for split in ("train", "val"))
    features = [extract(extractor, iter(part.images.split(32)))[0] for part in (train, held_out)]
    classifier = Classifier(features[0], train.classes, len(dataset.classes))
    return classifier, float(classifier.hits(features[1], held_out.classes).mean())


def rate(entry: str, data: str, guidance: list[float], samples: int, steps: int) -> dict[str, object]:
    """The classifier's accuracy on real images, and on samples at each guidance scale."""
    model, metadata = load_weights(entry)
    extractor = open_features()
    classifier, accuracy = train_classifier(data, model.graph.resolution, extractor)
    print(f"held-out real images: {accuracy:.3f}", flush=True)
    result: dict[str, object] = {"weights": metadata["content"][:16], "samples": samples, "held_out_real": accuracy}
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
    """Measure and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entry", default="mdm-nano", help="an entry with weights, or a checkpoint")
    parser.add_argument("--data", default="noto-emoji-64")
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 3.0])
    options = parser.parse_args()
    print(json.dumps(rate(options.entry, options.data, options.guidance, options.samples, options.steps), indent=2))


if __name__ == "__main__":
    main()
