"""Sampling: one step with guidance, and the time of samples of equal quality."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.baseline.diffusion import ddim, even_times, guided
from benchmarks.baseline.network import PlainUNet, load_from
from benchmarks.suite.comparing import Comparison, Options, compared, counted, zoo_model
from benchmarks.suite.inputs import conditions, graph_of
from benchmarks.suite.measuring import alternate
from builders.diffusion.process import DiffusionProcess
from builders.networks.nested_unet import NestedUNet, build_model
from builders.sampling.sampler import sample
from registry.weights import load_weights
from specs.schemas.sampling import SamplerSettings

__all__ = ["GUIDANCE", "STEPS", "PlainSampler", "ZooSampler", "quality", "sampling"]

GUIDANCE = 2.0
#: Steps of a measurement.
STEPS = 3


class PlainSampler:
    """DDIM of the plain network.

    Args:
        zoo: Network of the zoo, whose weights and conditions are taken.
        rows: Number of samples.
        network: Network that predicts. Default: the plain one.
    """

    def __init__(self, zoo: NestedUNet, rows: int, network: torch.nn.Module | None = None) -> None:
        graph, self.device = zoo.graph, zoo.device
        network = network or load_from(PlainUNet(graph).to(self.device), zoo.state_dict()).eval()
        given, none = (conditions(graph, rows, self.device, given=each) for each in (True, False))
        self.predict = guided(network, given, none, GUIDANCE)
        self.schedules, self.steps = DiffusionProcess(graph, self.device).schedules, graph.process.steps
        self.start = first_noise(zoo, rows)

    def __call__(self, count: int) -> list[Tensor]:
        """Draw samples in ``count`` steps."""
        return ddim(self.predict, self.start, self.schedules, even_times(self.steps, count))


class ZooSampler:
    """A sampler of the zoo, conditions included.

    Args:
        zoo: Network of the zoo.
        rows: Number of samples.
        name: Name of the sampler.
        **settings: Further fields of :class:`specs.schemas.sampling.SamplerSettings`.
    """

    def __init__(self, zoo: NestedUNet, rows: int, name: str = "ddim", **settings: Any) -> None:
        self.zoo, self.rows = zoo, rows
        usual = {"guidance_scale": GUIDANCE, "spacing": "index", "precision": "float32"}
        self.settings = {"sampler": name, **usual, **settings}
        self.process = DiffusionProcess(zoo.graph, zoo.device)
        self.given, self.none = (conditions(zoo.graph, rows, zoo.device, given=each) for each in (True, False))

    @torch.no_grad()
    def __call__(self, count: int) -> list[Tensor]:
        """Draw samples in ``count`` steps."""
        return sample(
            self.zoo,
            self.zoo.encode(**self.given),
            self.process,
            SamplerSettings(num_inference_steps=count, **self.settings),
            seeds=range(self.rows),
            unconditional=self.zoo.encode(**self.none),
        )


def first_noise(zoo: NestedUNet, rows: int) -> list[Tensor]:
    """Return the noise that the zoo's samplers start from."""
    seen: list[list[Tensor]] = []
    hook = zoo.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    ZooSampler(zoo, rows)(1)
    hook.remove()
    return [level[:rows] for level in seen[0]]


def sampling(options: Options) -> Iterator[Comparison]:
    """Measure a step of DDIM with guidance, conditions included: the mean of 3 steps."""
    count = 2 if options.quick else STEPS
    for name, rows in options.entries:
        zoo = zoo_model(graph_of(name), options.device).eval()
        plain, ours = PlainSampler(zoo, rows), ZooSampler(zoo, rows)
        calls = {"plain": partial(plain, count), "zoo": partial(ours, count)}
        times = alternate(calls, options.rounds, device=options.device, least=options.least)
        yield compared("sampling", f"{name}, {counted(rows, 'sample')}", times, options.device, parts=count)


def level_alone(whole: NestedUNet, label: str) -> NestedUNet:
    """Return a level of a network and the levels inside it as a network of its own."""
    inner = build_model(whole.graph.inner(label), whole.device)
    names = inner.state_dict().keys()
    inner.load_state_dict({name: value for name, value in whole.state_dict().items() if name in names})
    return inner.eval()


def distance(found: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    """Return the root mean square difference of the outermost images."""
    return (found[0] - exact[0]).square().mean().sqrt().item()


def fewest(draw: Callable[[int], list[Tensor]], exact: Sequence[Tensor], limit: float, counts: Sequence[int]) -> int:
    """Return the smallest of some rising numbers of steps with at most a distance; the last one if there is none."""
    return next((count for count in counts if distance(draw(count), exact) <= limit), counts[-1])


def quality(options: Options) -> Iterator[Comparison]:
    """Measure samples of equal quality: 50 steps of plain DDIM against as few steps of the zoo as are as close.

    The network is the 16-pixel level of mdm-nano. The zoo takes DPM-Solver++ with times even in log-SNR and the fewest
    steps whose samples, from the same noise, are at most as far from those of DDIM with all 1,000 steps.
    """
    rows, many, few = (2, 100, 10) if options.quick else (4, 1000, 50)
    zoo = level_alone(load_weights("mdm-nano", options.device)[0], "r16")
    plain, exact = PlainSampler(zoo, rows), ZooSampler(zoo, rows)(many)
    limit = distance(plain(few), exact)
    solver = ZooSampler(zoo, rows, "dpm++", spacing="logsnr")
    count = fewest(solver, exact, limit, range(2, few + 1, 2))
    calls = {"plain": partial(plain, few), "zoo": partial(solver, count)}
    times = alternate(calls, options.rounds, device=options.device)
    case = f"mdm-nano r16, {rows} samples: {few} steps of ddim, {count} of dpm++"
    found = compared("quality", case, times, options.device)
    yield replace(found, plain=found.plain / rows, zoo=found.zoo / rows)
