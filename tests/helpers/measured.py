"""Measurements and features made up for tests; no network, no samples."""

from __future__ import annotations

import torch

import zoo
from registry.evaluation.features import Extractor
from registry.evaluation.results import Measurement, Metric, Protocol

__all__ = ["PROTOCOL", "extractor", "measurement"]

PROTOCOL = Protocol(
    features="made_up",
    features_sha256="0" * 64,
    resize="bicubic",
    resolution=16,
    samples=100,
    reference="noto-emoji-64",
    reference_split="train",
    reference_count=1722,
    reference_sha256="1" * 64,
)


def measurement(name: str, value: float = 1.0, **changes) -> Measurement:
    """A measurement of an entry of the zoo."""
    entry = zoo.get(name)
    facts = {
        "entry": name,
        "hash": entry.hash,
        "graph_hash": entry.graph_hash,
        "weights": "w" * 16,
        "sampler": {"sampler": "ddim", "num_inference_steps": 10, "guidance_scale": 1.0, "seed": 0},
        "protocol": PROTOCOL,
        "metrics": {
            "kid_made_up": Metric(value=value / 10, low=value / 20, high=value / 5),
            "fd_made_up": Metric(value=value, low=0.9 * value, high=1.1 * value),
        },
        "date": "2026-01-01T00:00:00+00:00",
    }
    return Measurement(**(facts | changes))


def extractor(width: int = 6) -> Extractor:
    """Fixed random features of a mean-pooled image: cheap, and different for different images."""
    weights = torch.randn(3 * 16, width, generator=torch.Generator().manual_seed(0))

    def run(images):
        pooled = torch.nn.functional.adaptive_avg_pool2d(images.float() / 255, 4).flatten(1)
        return pooled @ weights, None

    return Extractor("made_up", "0" * 64, width, "bicubic", False, run)
