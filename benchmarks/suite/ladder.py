"""The ladder: from the plain implementation to the zoo, one optimization after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.baseline.diffusion import Predict
from benchmarks.baseline.layers import fused_attention
from benchmarks.baseline.network import PlainUNet, load_from
from benchmarks.suite.comparing import Options, counted, zoo_model
from benchmarks.suite.inputs import graph_of
from benchmarks.suite.measuring import Ratio, Times, alternate, peak_bytes, ratio
from benchmarks.suite.sampling import GUIDANCE, STEPS, PlainSampler, ZooSampler
from benchmarks.suite.trainers import plain_step, zoo_step
from builders.networks.conditioning import Context
from builders.networks.nested_unet import NestedUNet, build_model
from specs.graph import EntryGraph

__all__ = ["RUNGS", "Rung", "ladder"]

#: Rungs in order. Each adds its optimization to those before it.
RUNGS = (
    "plain",
    "fused attention",
    "Linear layers in attention, one activation of the time",
    "conditions encoded once per sample",
    "schedules broadcast",
    "fused AdamW",
    "moving average in one call",
    "losses by row, norms by level, read in one transfer",
    "bfloat16",
    "compiled blocks",
    "channels last",
    "checkpointing",
)
CASES = {"quick": "mdm-micro:2", "cpu": "two-levels:1", "cuda": "two-levels:32"}
#: Names of the two calls that are measured.
KINDS = ("training step", "sampling step")


@dataclass(frozen=True)
class Rung:
    """A rung of the ladder.

    Attributes:
        case: Entry and rows.
        name: Optimization that is added.
        milliseconds: Median time of a training step and of a sampling step with guidance, as far as it changes them.
        gains: How many times as fast as the plain implementation they are.
        memory: Most MiB that the tensors of a training step take; None if it does not change.
    """

    case: str
    name: str
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    gains: Mapping[str, Ratio] = field(default_factory=dict)
    memory: float | None = None

    def record(self) -> dict[str, Any]:
        """Return the numbers as plain data."""
        return {"benchmark": "ladder", **asdict(self)}


def broadcast(schedule: Tensor, index: Tensor, like: Tensor) -> Tensor:
    """Return the schedule at indices (rows,) as (rows, 1, 1, 1)."""
    return schedule[index].reshape(-1, 1, 1, 1)


@torch.no_grad()
def foreach_average(averages: list[Tensor], weights: list[Tensor], decay: float) -> None:
    """Move all averages towards their weights in one call."""
    torch._foreach_lerp_(averages, weights, 1 - decay)


def guided_once(zoo: NestedUNet, given: Mapping[str, Any], none: Mapping[str, Any]) -> Predict:
    """Return a prediction with guidance whose conditions are encoded now."""
    context = Context.cat([zoo.encode(**given), zoo.encode(**none)])

    def predict(z: list[Tensor], t: int) -> list[Tensor]:
        pairs = [level.chunk(2) for level in zoo([torch.cat([level, level]) for level in z], t, context)]
        return [without + GUIDANCE * (with_ - without) for with_, without in pairs]

    return predict


def training_rungs(graph: EntryGraph, rows: int, device: str) -> dict[str, Callable[[], object]]:
    """Return a training step for each rung that changes it."""
    weights = zoo_model(graph, "cpu").state_dict()

    def zoo() -> NestedUNet:
        model = build_model(graph)
        model.load_state_dict(weights)
        return model

    plain = partial(plain_step, graph, rows, device, weights=weights)
    ours = partial(zoo_step, graph, rows, device, weights=weights)
    fused = {"read": broadcast, "adamw": {"fused": True}}
    half: dict[str, Any] = {"precision": "bfloat16"}
    steps = {
        RUNGS[0]: plain(),
        RUNGS[1]: plain(model=load_from(PlainUNet(graph, fused_attention), weights)),
        RUNGS[2]: plain(model=zoo()),
        RUNGS[4]: plain(model=zoo(), read=broadcast),
        RUNGS[5]: plain(model=zoo(), **fused),
        RUNGS[6]: plain(model=zoo(), average=foreach_average, **fused),
        RUNGS[7]: ours(),
        RUNGS[8]: ours(**half),
    }
    if torch.device(device).type == "cuda":
        half["compile"] = True
        steps[RUNGS[9]] = ours(**half)
        half["channels_last"] = True
        steps[RUNGS[10]] = ours(**half)
    steps[RUNGS[11]] = ours(memory={"checkpoint": list(graph.labels)}, **half)
    return {name: step for name, (_, step) in steps.items()}


def sampling_rungs(graph: EntryGraph, rows: int, device: str, count: int) -> dict[str, Callable[[], object]]:
    """Return the drawing of samples in ``count`` steps for each rung that changes it."""
    zoo = zoo_model(graph, device).eval()
    fused = load_from(PlainUNet(graph, fused_attention).to(device), zoo.state_dict()).eval()
    samplers: dict[str, Any] = {
        RUNGS[0]: PlainSampler(zoo, rows),
        RUNGS[1]: PlainSampler(zoo, rows, fused),
        RUNGS[2]: PlainSampler(zoo, rows, zoo),
        RUNGS[3]: PlainSampler(zoo, rows, zoo),
        RUNGS[4]: ZooSampler(zoo, rows),
        RUNGS[8]: ZooSampler(zoo, rows, precision="bfloat16"),
    }
    once, ours = samplers[RUNGS[3]], samplers[RUNGS[4]]

    @torch.no_grad()
    def encoded_once() -> list[Tensor]:
        once.predict = guided_once(zoo, ours.given, ours.none)
        return once(count)

    calls: dict[str, Callable[[], object]] = {name: partial(each, count) for name, each in samplers.items()}
    return calls | {RUNGS[3]: encoded_once}


def ladder(options: Options) -> Iterator[Rung]:
    """Measure a training step and a sampling step, adding one optimization after the other to the plain ones."""
    case = (options.cases or (CASES["quick" if options.quick else torch.device(options.device).type],))[0]
    name, _, rows = case.partition(":")
    graph, count = graph_of(name), 2 if options.quick else STEPS
    steps = training_rungs(graph, int(rows or 1), options.device)
    draws = sampling_rungs(graph, int(rows or 1), options.device, count)
    times = [alternate(calls, options.rounds, device=options.device, least=options.least) for calls in (steps, draws)]
    memory = {rung: peak_bytes(step, options.device) / 2**20 for rung, step in steps.items()}
    for rung in RUNGS:
        milliseconds, gains = {}, {}
        for kind, found, parts in zip(KINDS, times, (1, count), strict=True):
            if rung in found:
                milliseconds[kind] = 1000 * found[rung].median(options.device) / parts
                gains[kind] = _gain(found, rung, options.device)
        if milliseconds:
            yield Rung(f"{name}, {counted(int(rows or 1), 'row')}", rung, milliseconds, gains, memory.get(rung))


def _gain(found: Mapping[str, Times], rung: str, device: str) -> Ratio:
    return ratio(found[RUNGS[0]].seconds(device), found[rung].seconds(device))
