"""Measure a run by the names of measures."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.evaluation.phases import Progress, silent
from registry.measures.arguments import (
    ErrorArguments,
    GradientArguments,
    NoArguments,
    RateArguments,
    SampleArguments,
    parse_measures,
)
from registry.measures.run import MeasuredRun
from specs.schemas.evaluation import EvaluationSpec

if TYPE_CHECKING:
    import torch

    from builders.measures.gradients import GradientFacts
    from registry.evaluation.image_sets import ImageSet
    from specs.graph import EntryGraph

__all__ = ["check_measures", "measure_run"]

#: Samples in a picture.
SHOWN = 60


def check_measures(measures: Mapping[str, Mapping[str, Any]], graphs: Sequence[EntryGraph] = ()) -> None:
    """Check measures before anything is trained.

    Args:
        measures: Arguments by the name of the measure.
        graphs: Graphs of the entries that will be measured.

    Raises:
        ValueError: There is no such measure, argument or value, or it cannot measure one of the entries.
    """
    arguments = parse_measures(measures)
    if "p1" in arguments:
        for graph in graphs:
            _check_schedule(graph, arguments["p1"].log_snrs)
    for graph in graphs:
        for name in ("nearest", "gradients", "stable_rate"):
            if name in arguments and graph.frames > 1:
                raise ValueError(f"measures.{name} is for images, and {graph.name} is an entry of clips")


def _check_schedule(graph: EntryGraph, ratios: Sequence[float]) -> None:
    from builders.diffusion.log_snr import index_at
    from builders.diffusion.process import DiffusionProcess

    schedule = DiffusionProcess(graph).schedules[0]
    lacking = [f"{ratio:g}" for ratio in ratios if index_at(schedule, ratio) is None]
    if lacking:
        label = graph.labels[0]
        raise ValueError(
            f"measures.p1: the schedule of {graph.name} at {label} has no log-SNR {', '.join(lacking)}; name those "
            "that all arms have under log_snrs"
        )


def measure_run(
    folder: Path,
    measures: Mapping[str, Mapping[str, Any]],
    *,
    evaluation: EvaluationSpec,
    data: str,
    device: torch.device | str = "cpu",
    picture: Path | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Measure a finished run.

    Args:
        folder: Folder of the run.
        measures: Arguments by the name of the measure.
        evaluation: How samples are drawn and compared.
        data: Data of the study.
        device: Device of the networks.
        picture: File for a picture of the samples, which ``p2`` and ``nearest`` draw.
        progress: Called with the name of a part of a measure, the amount done and the total amount.

    Returns:
        Measures by name: floats such as ``p1`` and ``p1/-5``, and further values that are plain JSON.

    Raises:
        ValueError, LookupError, OSError: One clear message each.
    """
    run = MeasuredRun(folder, evaluation, data, device, picture, progress)
    found: dict[str, Any] = {}
    for name, arguments in parse_measures(measures).items():
        found |= MEASURES[name](run, arguments)
    return found


def _clean_error(run: MeasuredRun, arguments: ErrorArguments) -> dict[str, Any]:
    from builders.diffusion.process import DiffusionProcess
    from builders.measures.clean_error import mean_error
    from builders.training.held_out.measure import HeldOut
    from specs.schemas.held_out import ValidationSpec

    model = run.model
    size, process = model.graph.levels[0].size, DiffusionProcess(model.graph, run.device)
    data, spec = run.split("val", size.side, size.frames), ValidationSpec(samples=arguments.samples)
    errors = HeldOut(model, process, data, spec, run.encoder).outermost_errors(arguments.draws)
    each = {f"p1/{ratio:g}": error for ratio, error in errors.items()}
    return {"p1": mean_error(errors, arguments.log_snrs), **each}


def _kernel_distance(run: MeasuredRun, arguments: SampleArguments) -> dict[str, Any]:
    measured, _ = run.samples(arguments.samples)
    _draw_picture(run, arguments.samples)
    kid, fd = (
        next(metric for name, metric in measured.metrics.items() if name.startswith(kinds))
        for kinds in (("kid",), ("fd", "fid"))
    )
    details = {"interval": [kid.low, kid.high], "protocol": measured.protocol.model_dump(mode="json")}
    return {"p2": kid.value, "p2/fd": fd.value, "p2_details": details}


def _draw_picture(run: MeasuredRun, count: int | None) -> None:
    """Save samples that are evenly spread, because they are ordered by class."""
    from builders.pictures import contact_sheet, save_image, spread

    if run.picture is None or run.model.graph.frames > 1:
        return
    images = _images(run, count)
    run.picture.parent.mkdir(parents=True, exist_ok=True)
    save_image(contact_sheet(images[spread(len(images), SHOWN)]), run.picture)


def _images(run: MeasuredRun, count: int | None) -> torch.Tensor:
    drawn: ImageSet = run.samples(count)[1]  # type: ignore[assignment]
    return drawn.images


def _nearest(run: MeasuredRun, arguments: NoArguments) -> dict[str, Any]:
    from builders.measures.memorisation import nearest_facts
    from builders.sampling.nearest import most_compared

    side = run.model.graph.resolution
    splits = [run.split(name, side) for name in ("train", "val")]
    training, held_out = (split.first(min(len(split), most_compared(side)))[0] for split in splits)
    found = nearest_facts(_images(run, None), training, held_out)
    return {"nearest": found["nearest"], "nearest/held_out": found["nearest_held_out"], "nearest/close": found["close"]}


def _gradients(run: MeasuredRun, arguments: GradientArguments) -> dict[str, Any]:
    from builders.measures.at_states import evenly_spread_states, gradients_at

    graph, recipe = run.model.graph, run.recipe
    facts, steps = [], []
    for state in evenly_spread_states(run.folder, arguments.checkpoints):
        data = run.split("train", graph.inner(recipe.phases[state.progress.phase].train).resolution)
        options: dict[str, Any] = {"device": run.device, "encoder": run.encoder}
        facts.append(gradients_at(state, recipe, graph, data, arguments.batches, **options))
        steps.append(state.progress.steps_done)
    return {**_medians(facts), "gradients": {"steps": steps, "facts": [each.plain for each in facts]}}


def _medians(facts: Sequence[GradientFacts]) -> dict[str, float]:
    """Return medians over the states at which a value is there; a scale that is missing is above all others."""
    found = {}
    for loss in dict.fromkeys(loss for each in facts for loss in each.noise_scales):
        scales = [each.noise_scales[loss] for each in facts if loss in each.noise_scales]
        middle = statistics.median_low([float("inf") if scale is None else scale for scale in scales])
        found["noise_scale" if loss == "total" else f"noise_scale/{loss}"] = middle
    pairs = dict.fromkeys((pair, label) for each in facts for pair, by in each.cosines.items() for label in by)
    for pair, label in pairs:
        cosines = [each.cosines[pair].get(label) for each in facts if pair in each.cosines]
        known = [cosine for cosine in cosines if cosine is not None]
        if known:
            found[f"cosine/{pair.replace(' ', '-')}/{label}"] = statistics.median(known)
    return {name: value for name, value in found.items() if value != float("inf")}


def _stable_rate(run: MeasuredRun, arguments: RateArguments) -> dict[str, Any]:
    from builders.measures.stable_rate import is_stable, largest_stable, short_losses

    graph, recipe, tried = run.model.graph, run.recipe, {}
    data = run.split("train", graph.inner(list(recipe.phases.values())[-1].train).resolution)

    def stable(rate: float) -> bool:
        options: dict[str, Any] = {"warmup": arguments.warmup, "device": run.device, "encoder": run.encoder}
        losses = short_losses(recipe, graph, data, rate, arguments.steps, **options)
        tried[f"{rate:g}"] = is_stable(losses, arguments.steps)
        return tried[f"{rate:g}"]

    rate = largest_stable(arguments.rates, stable)
    return {"rates": tried} | ({} if rate is None else {"stable_rate": rate})


MEASURES: dict[str, Callable[[MeasuredRun, Any], dict[str, Any]]] = {
    "p1": _clean_error,
    "p2": _kernel_distance,
    "nearest": _nearest,
    "gradients": _gradients,
    "stable_rate": _stable_rate,
}
