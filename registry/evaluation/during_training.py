"""Distances during training: samples of the EMA weights against the training data, at checkpoints."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.training.observers import Observer, RunInfo
from registry.evaluation.results import best_value, keyed, measurements, save

if TYPE_CHECKING:
    from builders.networks.nested_unet import NestedUNet
    from builders.training.distributed import Processes
    from registry.evaluation.clip_sets import ClipSet
    from registry.evaluation.image_sets import ImageSet
    from registry.evaluation.results import Measurement
    from specs.graph import EntryGraph

__all__ = ["DistanceObserver"]


class DistanceObserver(Observer):
    """Measures at the first checkpoint at or after every ``every.distance`` steps of a phase.

    The name of a metric contains features, conditions and level: ``kid_efficientnet_lite0-KEY/r64``, of clips
    ``fd_changes_efficientnet_lite0-KEY/r64f16``. The key is needed
    because a recipe's ``evaluation`` may change between two parts of a run; ``registry.tracking.sender`` drops it if
    all numbers in the store have the same one. The best value so far is logged too, as ``..._best``. Measurements
    with their protocols are written to ``evaluations/`` in the run's folder. If several processes train, each draws a
    share of the samples.

    Args:
        log: Called with the values and the step, such as ``MLflowObserver.log_metrics``.
        device: Device of the feature network.
        report: Called with the step and the values by metric and level, without conditions and bests: the method
            ``on_distance`` of other observers.
        progress: Called with the name of a part of the measurement, the amount done and the total amount.
        warn: Called with a message if a distance cannot be measured, for example of samples that are all alike;
            training continues. Default: print to stderr.

    Raises:
        EvaluationError: At the start of training, if the features are not available.
        ValueError: At the start of training, if there are more sampling steps than the process has.
    """

    def __init__(
        self,
        log: Callable[[Mapping[str, float], int], object] | None = None,
        device: Any = "cpu",
        warn: Callable[[str], object] | None = None,
        *,
        report: Callable[[int, Mapping[str, float]], object] | None = None,
        progress: Callable[[str, int, int], object] = lambda what, done, total: None,
    ) -> None:
        self.report, self.progress = report, progress
        self.log, self.device, self.warn = log, device, warn or _print
        self.best: dict[str, float] = {}
        self.processes: Processes | None = None
        self._references: dict[str, ImageSet | ClipSet] = {}

    def on_processes(self, processes: Processes) -> bool:
        self.processes = processes if processes.count > 1 else None
        return True  # all draw samples; the main process measures them

    @property
    def _follows(self) -> bool:
        """Whether this process only draws samples for the main one."""
        return self.processes is not None and not self.processes.main

    def on_start(self, run: RunInfo) -> None:
        if self._follows:
            self.run = run
            return
        from builders.sampling.defaults import fit_settings
        from registry.evaluation.features import open_features

        self.run = run
        self.folder = run.folder / "evaluations"
        spec = fit_settings(run.recipe.evaluation, run.graph, run.recipe.drop.model_dump())
        # Before the first step: missing features must not end a run hours later.
        self._extractor = open_features(spec.features, resize=spec.resize, device=self.device)
        for found in self._earlier():
            label = found.protocol.label
            if label in run.graph.labels and found.training_step is not None and found.training_step <= run.first_step:
                self._improve(_named(found, label))

    def on_phase(self, name: str, graph: EntryGraph, steps: int | None, done: int) -> None:
        self.label, self.size = graph.labels[0], graph.levels[0].size
        self.next: int | None = None

    def on_checkpoint(self, step: int, path: Path) -> None:
        every = self.run.recipe.every.distance
        if self.next is None:
            # The first checkpoint of a phase: measure at the next multiple of ``every``, which may be this step.
            self.next = -(-step // every) * every
        if step < self.next:
            return
        self.next = (step // every + 1) * every
        weights = path.with_name("ema.safetensors")
        try:
            if self.processes is None:
                self._measure(step, *self._load(weights))
            else:
                self._measure_together(step, weights, self.processes)
        except (ValueError, OSError) as error:  # such as collapsed samples or a full disk
            self.warn(f"step {step}: the distance of {self.label} was not measured: {error}")

    def _load(self, weights: Path) -> tuple[NestedUNet, Mapping[str, str]]:
        from registry.weights import load_weights

        return load_weights(str(weights), self.device)

    def _measure_together(self, step: int, weights: Path, processes: Processes) -> None:
        """Let every process draw a share of the samples; the main process measures all of them."""
        from builders.training.sharding.drawing import SharedDrawing

        processes.gather(None)  # the main process has written the weights
        try:
            model, metadata = processes.agree(lambda: self._load(weights))
            if len(set(processes.gather(metadata.get("content")))) > 1:
                raise ValueError(f"{weights} is not the same file on all machines; share the folder of the run")
            shared = SharedDrawing(processes)
            if not processes.main:
                shared.follow(model, self.run.encoder)
                return
            try:
                self._measure(step, model, metadata, shared.draw)
            finally:
                shared.end()
        except (ValueError, OSError):
            if processes.main:  # which reports it for all
                raise

    def _measure(self, step: int, model: NestedUNet, metadata: Mapping[str, str], drawing: Any = None) -> None:
        from registry.evaluation.evaluate import evaluate_model
        from registry.evaluation.image_sets import open_reference

        recipe = self.run.recipe
        spec = recipe.evaluation
        if self.label not in self._references:
            # What the phase reads: images of their own, if the recipe has them and the level has one frame.
            data = recipe.data if recipe.images is None or self.size.frames > 1 else recipe.images
            self._references[self.label] = open_reference(data, self.size, spec.split)
        reference = self._references[self.label]
        options: Any = {"encoder": self.run.encoder, "progress": self.progress}
        if drawing is not None:
            options["drawing"] = drawing
        found, _ = evaluate_model(model, metadata, reference, self._extractor, spec, **options)
        save(found.model_copy(update={"training_step": step}), self.folder)
        values = _named(found, self.label)
        self._improve(values)
        if self.report is not None:
            self.report(step, {f"{name}/{self.label}": metric.value for name, metric in found.metrics.items()})
        if self.log is not None:
            self.log(values | {f"{name}_best": self.best[name] for name in values}, step)

    def _improve(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            best = best_value(name, (value, self.best.get(name, value)))
            assert best is not None
            self.best[name] = best

    def _earlier(self) -> tuple[Measurement, ...]:
        """Return the measurements that the run made before it was interrupted."""
        try:
            return measurements([self.folder])
        except (ValueError, OSError) as error:
            self.warn(f"the best distances so far are unknown: {error}")
            return ()


def _named(found: Measurement, label: str) -> dict[str, float]:
    """Return the values of a measurement by name, conditions and level."""
    return {keyed(name, found.conditions, label): metric.value for name, metric in found.metrics.items()}


def _print(text: str) -> None:
    """Print a warning to stderr."""
    print(f"warning: {text}", file=sys.stderr)
