"""Gradients of the loss of each level: norms and cosines on the parameters of each level, and how noisy they are.

Sums over independent batches give estimates without bias: of the true gradient G of a loss, g_k being that of batch k,

    |G|^2 = (|g_1 + ... + g_n|^2 - |g_1|^2 - ... - |g_n|^2) / (n (n - 1)),

which is equation A.1 of arXiv 1812.06162 for batches of B and of n B rows, and likewise for the product of the
gradients of two losses, whose noise is correlated in one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from builders.networks.nested_unet import NestedUNet
from builders.networks.parameters import parameters_by_level
from builders.training.batches import Batch
from specs.schemas.recipe import LossSpec

__all__ = ["TOTAL", "GradientFacts", "gradient_facts", "noise_scale"]

#: Name of the weighted sum of the losses of all levels.
TOTAL = "total"
#: Flat gradients of one batch by loss and by level of the parameters.
_Found = dict[str, dict[str, Tensor]]


@dataclass(frozen=True)
class GradientFacts:
    """What the gradients of some batches say. Losses are named by label, their weighted sum ``total``.

    Attributes:
        norms: Norm of the true gradient by loss, then by label of the parameters; 0 where it is below its noise.
        cosines: Cosine of the true gradients of two losses, named ``r64 r16``, by label of the parameters; None where
            one of them is below its noise.
        noise_scales: Rows at which the noise of a mean gradient is as large as the gradient, by loss (arXiv
            1812.06162, equation 2.9); None where the gradient is below its noise.
        batches: Number of batches.
        rows: Rows of a batch by loss.
    """

    norms: Mapping[str, Mapping[str, float]]
    cosines: Mapping[str, Mapping[str, float | None]]
    noise_scales: Mapping[str, float | None]
    batches: int
    rows: Mapping[str, int]

    @property
    def plain(self) -> dict[str, Any]:
        """The facts as JSON."""
        return {
            "norms": {loss: dict(each) for loss, each in self.norms.items()},
            "cosines": {pair: dict(each) for pair, each in self.cosines.items()},
            "noise_scales": dict(self.noise_scales),
            "batches": self.batches,
            "rows": dict(self.rows),
        }


def noise_scale(square_of_mean: float, mean_square: float, batches: int, rows: int) -> float | None:
    """Return the simple noise scale tr(S) / |G|^2 in rows (arXiv 1812.06162, equations 2.9 and A.1 to A.3).

    Args:
        square_of_mean: Squared norm of the mean gradient of all batches.
        mean_square: Mean squared norm of the gradient of one batch.
        batches: Number of batches, at least 2.
        rows: Rows of a batch.

    Returns:
        The noise scale, or None if the estimate of |G|^2 is not positive.
    """
    signal = (batches * square_of_mean - mean_square) / (batches - 1)
    noise = (mean_square - square_of_mean) / (1 / rows - 1 / (batches * rows))
    return max(0.0, noise) / signal if signal > 0 else None


class _Sums:
    """Sums over batches, from which the estimates follow."""

    def __init__(self, names: Sequence[str], labels: Sequence[str]) -> None:
        self.pairs = [(one, one) for one in names] + list(combinations(names, 2))
        self.labels, self.count = labels, 0
        self.gradients: _Found = {}
        self.products = {pair: dict.fromkeys(labels, 0.0) for pair in self.pairs}

    def add(self, found: _Found) -> None:
        """Add the gradients of a batch."""
        for pair, sums in self.products.items():
            for label in self.labels:
                sums[label] += _product(found[pair[0]][label], found[pair[1]][label])
        if self.gradients:
            for name, each in found.items():
                for label, value in each.items():
                    self.gradients[name][label].add_(value)
        else:
            self.gradients = found
        self.count += 1

    def true(self, pair: tuple[str, str], label: str) -> float:
        """Return the estimate of the product of two true gradients."""
        one, other = pair
        whole = _product(self.gradients[one][label], self.gradients[other][label])
        return (whole - self.products[pair][label]) / (self.count * (self.count - 1))

    def cosine(self, one: str, other: str, label: str) -> float | None:
        """Return the cosine of two true gradients."""
        squares = self.true((one, one), label) * self.true((other, other), label)
        if min(self.true((one, one), label), self.true((other, other), label)) <= 0:
            return None
        return max(-1.0, min(1.0, self.true((one, other), label) / squares**0.5))

    def scale(self, name: str, rows: int) -> float | None:
        """Return the noise scale of a loss, over the parameters of all levels."""
        own = (name, name)
        whole = sum(_product(self.gradients[name][label], self.gradients[name][label]) for label in self.labels)
        mean = sum(self.products[own].values()) / self.count
        return noise_scale(whole / self.count**2, mean, self.count, rows)


def gradient_facts(
    model: NestedUNet,
    batches: Iterable[Batch],
    losses: Callable[[Batch], Mapping[str, Tensor]],
    weights: LossSpec,
    *,
    seed: int = 0,
) -> GradientFacts:
    """Return what the gradients of independent batches say, at the weights that a network has.

    Levels whose loss has a weight of 0 are left out, and so are parameters that are not trained.

    Args:
        model: Network. It is in training mode while it is measured.
        batches: At least two batches, all with the same rows.
        losses: Function that returns the loss of every row, (rows,), by label.
        weights: Weights of the losses in their sum.
        seed: Seed of dropout.

    Raises:
        ValueError: There are fewer than two batches.
    """
    by_level = {label: found for label, found in parameters_by_level(model).items() if found}
    names = [label for label in model.labels if weights.weight(label)]
    sums, rows, was_training = _Sums([*names, TOTAL], list(by_level)), dict[str, int](), model.training
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        model.train()
        try:
            for batch in batches:
                each = losses(batch)
                rows = {name: len(each[name]) for name in names} | {TOTAL: len(batch.t)}
                means = {name: each[name].mean() for name in names}
                sums.add(_gradients(means, {name: weights.weight(name) for name in names}, by_level))
        finally:
            model.train(was_training)
    if sums.count < 2:
        raise ValueError(f"{sums.count} batches; the noise of a gradient needs at least two")
    labels = list(by_level)
    return GradientFacts(
        norms={name: {label: max(0.0, sums.true((name, name), label)) ** 0.5 for label in labels} for name in rows},
        cosines={
            f"{one} {other}": {label: sums.cosine(one, other, label) for label in labels}
            for one, other in combinations(names, 2)
        },
        noise_scales={name: sums.scale(name, count) for name, count in rows.items()},
        batches=sums.count,
        rows=rows,
    )


def _gradients(
    means: Mapping[str, Tensor], weights: Mapping[str, float], by_level: Mapping[str, Sequence[Tensor]]
) -> _Found:
    """Return the flat gradients of every loss and of their weighted sum, by level of the parameters."""
    parameters = [value for each in by_level.values() for value in each]
    found: _Found = {}
    for name, loss in means.items():
        values = iter(torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True))
        found[name] = {
            label: torch.cat([next(values).flatten() for _ in each]).float() for label, each in by_level.items()
        }
    found[TOTAL] = {
        label: torch.stack([weights[name] * found[name][label] for name in means]).sum(0) for label in by_level
    }
    return found


def _product(one: Tensor, other: Tensor) -> float:
    return float(torch.dot(one.double(), other.double()))
