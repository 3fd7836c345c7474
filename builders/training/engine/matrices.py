"""The update of Muon for many small matrices, all of one shape at once, which processes divide among themselves."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from builders.training.engine.shares import in_shares

__all__ = ["Moving", "MuonSettings", "move_matrices"]

#: Largest number of values that are computed at once; a larger matrix is computed alone.
AT_ONCE = 2**18


class Moving(NamedTuple):
    """A parameter that is a matrix if flattened.

    Attributes:
        weight: The parameter, (rows, ...).
        gradient: Its gradient as a matrix, (rows, everything else).
        momentum: Its momentum in the shape of ``gradient``; changed in place.
    """

    weight: Tensor
    gradient: Tensor
    momentum: Tensor


class MuonSettings(NamedTuple):
    """Settings of a group of parameters; see :class:`torch.optim.Muon`."""

    lr: float
    weight_decay: float
    momentum: float
    nesterov: bool
    ns_coefficients: tuple[float, float, float]
    ns_steps: int
    eps: float
    adjust_lr_fn: str | None


@torch.no_grad()
def move_matrices(matrices: Sequence[Moving], settings: MuonSettings) -> None:
    """Update weights and momenta in place by a step of Muon (https://kellerjordan.github.io/posts/muon).

    The result is that of :class:`torch.optim.Muon` up to rounding, in less time where matrices are small: torch's takes
    them one by one. Processes that train together each compute the directions of a share of the matrices; the result
    is the same as that of one process.
    """
    for _, gradient, momentum in matrices:
        momentum.lerp_(gradient, 1 - settings.momentum)

    def direction(batch: list[Moving]) -> Tensor:
        nesterov = settings.nesterov
        return _orthogonal([g.lerp(m, settings.momentum) if nesterov else m for _, g, m in batch], settings)

    batches = list(_batches(matrices))
    shapes = [(len(batch), *batch[0].gradient.shape) for batch in batches]
    costs = [count * rows * columns * min(rows, columns) for count, rows, columns in shapes]
    moved = in_shares(batches, shapes, costs, direction)
    for batch, (_, rows, columns), moves in zip(batches, shapes, moved, strict=True):
        rate = settings.lr * _ratio(rows, columns, settings.adjust_lr_fn)
        for (weight, _, _), move in zip(batch, moves, strict=True):
            weight.mul_(1 - settings.lr * settings.weight_decay)
            weight.add_(move.reshape(weight.shape), alpha=-rate)


def _batches(matrices: Sequence[Moving]) -> Iterator[list[Moving]]:
    """Yield matrices of one shape together, as many as are computed at once."""
    shapes: dict[torch.Size, list[Moving]] = defaultdict(list)
    for each in matrices:
        shapes[each.gradient.shape].append(each)
    for shape, found in shapes.items():
        size = max(1, AT_ONCE // max(1, shape.numel()))
        yield from (found[start : start + size] for start in range(0, len(found), size))


def _orthogonal(matrices: Sequence[Tensor], settings: MuonSettings) -> Tensor:
    """Return the nearest semi-orthogonal matrices, roughly, by a Newton-Schulz iteration in bfloat16.

    Args:
        matrices: Matrices of one shape, (rows, columns).
        settings: Coefficients and number of steps.

    Returns:
        Matrices (count, rows, columns).
    """
    a, b, c = settings.ns_coefficients
    x = torch.stack([each.bfloat16() for each in matrices])
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    # So that no singular value is above 1.
    x = x.div_(torch.stack([each.norm() for each in x]).clamp(min=settings.eps).view(-1, 1, 1))
    for _ in range(settings.ns_steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def _ratio(rows: int, columns: int, rule: str | None) -> float:
    """Return the factor of the learning rate for a shape, as :class:`torch.optim.Muon` has it."""
    if rule == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    if rule == "spectral_unclamped":
        return math.sqrt(rows / columns)
    return math.sqrt(max(1, rows / columns))
