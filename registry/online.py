"""Distances while training: samples of the averaged weights against the data, at checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.observers import Observer, RunFacts
from registry.results import save

if TYPE_CHECKING:
    from registry.features import Extractor
    from registry.reference import ImageSet
    from specs.graph import EntryGraph

__all__ = ["DistanceObserver"]


class DistanceObserver(Observer):
    """Measures at the first checkpoint at or after every ``every.distance`` steps of a phase.

    Metrics are called after the features and the level, ``kid_efficientnet_lite0/r64``; each with its best so far. The
    measurements themselves, with their protocol, are written to ``evaluations/`` in the run's folder.

    Args:
        log: told the values and the step, such as ``MLflowObserver.log_metrics``.
        device: where the features are taken.
    """

    def __init__(self, log: Callable[[Mapping[str, float], int], object] | None = None, device: Any = "cpu") -> None:
        self.log, self.device = log, device
        self.best: dict[str, float] = {}
        self._extractor: Extractor | None = None
        self._references: dict[int, ImageSet] = {}

    def on_start(self, run: RunFacts) -> None:
        self.run = run
        self.folder = run.folder / "evaluations"

    def on_phase(self, name: str, graph: EntryGraph, steps: int | None, done: int) -> None:
        self.label, self.resolution = graph.labels[0], graph.resolution
        self.next: int | None = None

    def on_checkpoint(self, step: int, path: Path) -> None:
        every = self.run.recipe.every.distance
        if self.next is None:
            # The first checkpoint of a phase tells where it stands; measure there if it is late enough.
            self.next = -(-step // every) * every
        if step < self.next:
            return
        self.next = (step // every + 1) * every
        self._measure(step, path.with_name("ema.safetensors"))

    def _measure(self, step: int, weights: Path) -> None:
        from registry.evaluation import evaluate_model
        from registry.features import open_features
        from registry.reference import open_images
        from registry.weights import load_weights

        recipe = self.run.recipe
        spec = recipe.evaluation
        if self._extractor is None:
            self._extractor = open_features(spec.features, resize=spec.resize, device=self.device)
        if self.resolution not in self._references:
            self._references[self.resolution] = open_images(recipe.data, self.resolution, spec.split)
        model, metadata = load_weights(str(weights), self.device)
        found, _ = evaluate_model(model, metadata, self._references[self.resolution], self._extractor, spec)
        save(found.model_copy(update={"training_step": step}), self.folder)
        values = {f"{name}/{self.label}": metric.value for name, metric in found.metrics.items()}
        self.best |= {name: min(value, self.best.get(name, value)) for name, value in values.items()}
        if self.log is not None:
            self.log(values | {f"{name}_best": self.best[name] for name in values}, step)
