"""Distances while training: samples of the averaged weights against the data, at checkpoints."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.training.observers import Observer, RunFacts
from registry.evaluation.results import best_value, keyed, measurements, save

if TYPE_CHECKING:
    from registry.evaluation.image_sets import ImageSet
    from registry.evaluation.results import Measurement
    from specs.graph import EntryGraph

__all__ = ["DistanceObserver"]


class DistanceObserver(Observer):
    """Measures at the first checkpoint at or after every ``every.distance`` steps of a phase.

    Metrics are called after the features, the conditions and the level, ``kid_efficientnet_lite0-KEY/r64``, each with
    its best so far: a recipe's ``evaluation`` may change in the middle of a run. ``registry.tracking.sender`` leaves
    the key out where all of a store's numbers have it. The measurements themselves, with their protocol, are written to
    ``evaluations/`` in the run's folder.

    Args:
        log: told the values and the step, such as ``MLflowObserver.log_metrics``.
        device: where the features are taken.
        warn: told where nothing could be measured, such as of samples that are all alike; training goes on. By
            default it is printed on stderr.

    Raises:
        EvaluationError: at the start of a training, features that are not at hand.
    """

    def __init__(
        self,
        log: Callable[[Mapping[str, float], int], object] | None = None,
        device: Any = "cpu",
        warn: Callable[[str], object] | None = None,
    ) -> None:
        self.log, self.device, self.warn = log, device, warn or _print
        self.best: dict[str, float] = {}
        self._references: dict[int, ImageSet] = {}

    def on_start(self, run: RunFacts) -> None:
        from registry.evaluation.features import open_features

        self.run = run
        self.folder = run.folder / "evaluations"
        spec = run.recipe.evaluation
        # Before the first step: a training of hours is not to find at its first measurement that there are none.
        self._extractor = open_features(spec.features, resize=spec.resize, device=self.device)
        labels = {level.resolution: level.label for level in run.graph.levels}
        for found in self._kept():
            label = labels.get(found.protocol.resolution)
            if label is not None and found.training_step is not None and found.training_step <= run.first_step:
                self._improve(_named(found, label))

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
        try:
            self._measure(step, path.with_name("ema.safetensors"))
        except (ValueError, OSError) as error:  # samples that collapsed, a disk that is full
            self.warn(f"step {step}: the distance of {self.label} was not measured: {error}")

    def _measure(self, step: int, weights: Path) -> None:
        from registry.evaluation.evaluate import evaluate_model
        from registry.evaluation.image_sets import open_images
        from registry.weights import load_weights

        recipe = self.run.recipe
        spec = recipe.evaluation
        if self.resolution not in self._references:
            self._references[self.resolution] = open_images(recipe.data, self.resolution, spec.split)
        model, metadata = load_weights(str(weights), self.device)
        reference = self._references[self.resolution]
        found, _ = evaluate_model(model, metadata, reference, self._extractor, spec, encoder=self.run.encoder)
        save(found.model_copy(update={"training_step": step}), self.folder)
        values = _named(found, self.label)
        self._improve(values)
        if self.log is not None:
            self.log(values | {f"{name}_best": self.best[name] for name in values}, step)

    def _improve(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            best = best_value(name, (value, self.best.get(name, value)))
            assert best is not None
            self.best[name] = best

    def _kept(self) -> tuple[Measurement, ...]:
        """What the run measured before it was interrupted."""
        try:
            return measurements([self.folder])
        except (ValueError, OSError) as error:
            self.warn(f"the best distances so far are not known: {error}")
            return ()


def _named(found: Measurement, label: str) -> dict[str, float]:
    """The values of a measurement under names that no other conditions have."""
    return {keyed(name, found.conditions, label): metric.value for name, metric in found.metrics.items()}


def _print(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)
