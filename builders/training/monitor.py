"""Monitoring of training by level: losses by noise, gradient norms, non-finite values, and an alarm for collapse.

When levels are trained jointly, the high resolution may collapse while the low one, which has most of the loss, still
improves. The sum of losses hides that.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor

__all__ = ["BINS", "CollapseAlarm", "Monitor", "bin_names", "non_finite"]

Total = Callable[[Tensor], Tensor]
#: Number of equal parts of the time index.
BINS = 4


def bin_names(times: int) -> list[str]:
    """Return the names of the bins of the time index: ``0-249`` and so on. Noise grows with time."""
    edges = [-(-times * index // BINS) for index in range(BINS + 1)]
    return [f"{first}-{max(first, last - 1)}" for first, last in pairwise(edges)]


def non_finite(losses: Mapping[str, Tensor], t: Tensor, norms: Mapping[str, Tensor], times: int) -> list[str]:
    """Describe which losses of a step were not finite, or else which gradients, by level and time.

    Args:
        losses: Loss of every row, (rows,), by level.
        t: Time indices, (rows of the innermost level,).
        norms: Norm of the gradient by level.
        times: Number of time indices.
    """
    names = bin_names(times)

    def bin_of(index: int) -> str:
        return names[index * len(names) // times]

    found = []
    for label, each in losses.items():
        bad = t[: len(each)][~torch.isfinite(each)]
        bins = dict.fromkeys(bin_of(index) for index in sorted(bad.tolist()))
        found += [f"the loss of level {label} at times t = {name}" for name in bins]
    if not found:
        for label in [label for label, norm in norms.items() if not torch.isfinite(norm)]:
            largest = int(t[losses[label].argmax()]) if len(losses[label]) else 0
            found.append(f"the gradient of level {label} (its largest loss at times t = {bin_of(largest)})")
    return found


class Monitor:
    """Sums losses and gradient norms over steps on the device, to read them all at once.

    Args:
        labels: Labels of the levels, outermost first.
        times: Number of time indices.
        device: Device of the losses.
    """

    def __init__(self, labels: tuple[str, ...], times: int, device: torch.device | str = "cpu") -> None:
        self.labels, self.times = labels, times
        #: Sum of losses and number of rows, by level and bin.
        self.losses = torch.zeros(len(labels), BINS, dtype=torch.float64, device=device)
        self.rows = torch.zeros_like(self.losses)
        #: Sum of gradient norms by level, and number of steps.
        self.norms = torch.zeros(len(labels) + 1, dtype=torch.float64, device=device)

    @torch.no_grad()
    def add(self, losses: Mapping[str, Tensor], t: Tensor, norms: Mapping[str, Tensor]) -> None:
        """Add a step, without reading anything from the device.

        Args:
            losses: Loss of every row, (rows,), by level.
            t: Time indices, (rows of the innermost level,).
            norms: Norm of the gradient by level; a frozen level has none.
        """
        bins = t * BINS // self.times
        for index, label in enumerate(self.labels):
            each = losses[label].double()
            self.losses[index].index_add_(0, bins[: len(each)], each)
            self.rows[index].index_add_(0, bins[: len(each)], torch.ones_like(each))
            if label in norms:
                self.norms[index] += norms[label]
        self.norms[-1] += 1

    def read(self, total: Total = lambda sums: sums) -> dict[str, float]:
        """Return the means since the last reading, by name, and reset the sums.

        Args:
            total: Function that sums a tensor over processes. Default: there is one process.

        Returns:
            ``loss_by_noise/r64/0-249`` for each level and bin with rows, ``mean_loss/r64``, and ``gradient_norm/r64``,
            which is 0 for a frozen level. Empty if no step was added.
        """
        # One vector, so that the device is read once.
        counts = total(torch.cat([self.losses.flatten(), self.rows.flatten()]))
        numbers = torch.cat([counts, self.norms]).tolist()
        size = len(self.labels) * BINS
        steps = numbers[-1]
        result: dict[str, float] = {}
        for index, label in enumerate(self.labels if steps else ()):
            sums, rows = numbers[index * BINS : (index + 1) * BINS], numbers[size + index * BINS :][:BINS]
            for name, value, count in zip(bin_names(self.times), sums, rows, strict=True):
                if count:
                    result[f"loss_by_noise/{label}/{name}"] = value / count
            result[f"mean_loss/{label}"] = sum(sums) / max(sum(rows), 1)
            result[f"gradient_norm/{label}"] = numbers[2 * size + index] / steps
        for tensor in (self.losses, self.rows, self.norms):
            tensor.zero_()
        return result

    def state(self, total: Total = lambda sums: sums) -> dict[str, Tensor]:
        """Return the sums for a checkpoint; ``total`` as in :meth:`read`."""
        return {"losses": total(self.losses), "rows": total(self.rows), "norms": self.norms}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Load the result of :meth:`state`."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])


class CollapseAlarm:
    """Alarm for an outer level that gets worse while the level inside it gets better.

    A reading is bad for a level if its loss exceeds its lowest one by a share of ``RISE``, or if its gradient norm is
    ``FACTOR`` times larger or smaller than the median of earlier readings, while the loss of the level inside is within
    a share of ``SLACK`` of its own lowest. The alarm is raised after ``PATIENCE`` bad readings in a row, and again only
    after the level has recovered. Losses of single readings scatter by a few percent, well below ``RISE``.

    Args:
        labels: Labels of the levels, outermost first.
        weighted: Labels of the levels that have a loss and are trained.
    """

    RISE, FACTOR, SLACK, PATIENCE = 0.25, 30.0, 0.1, 3

    def __init__(self, labels: tuple[str, ...], weighted: tuple[str, ...]) -> None:
        self.pairs = [(outer, inner) for outer, inner in pairwise(labels) if outer in weighted]
        self.lowest: dict[str, float] = {}
        self.gradients: dict[str, list[float]] = {}
        self.bad: dict[str, int] = {}

    def watch(self, values: Mapping[str, float]) -> list[str]:
        """Add a reading of :class:`Monitor`, and return the messages of the alarms that it raises."""
        messages = []
        for outer, inner in self.pairs:
            problem = self._problem(values, outer, inner)
            self.bad[outer] = self.bad.get(outer, 0) + 1 if problem else 0
            if problem and self.bad[outer] == self.PATIENCE:
                messages.append(f"{problem}: level {outer} is collapsing. {ADVICE.format(outer=outer, inner=inner)}")
            if not problem:
                self.gradients.setdefault(outer, []).append(values.get(f"gradient_norm/{outer}", 0.0))
                del self.gradients[outer][:-50]
        for name, value in values.items():
            if name.startswith("mean_loss/") and math.isfinite(value):
                self.lowest[name] = min(value, self.lowest.get(name, value))
        return messages

    def _problem(self, values: Mapping[str, float], outer: str, inner: str) -> str | None:
        loss, inside = values.get(f"mean_loss/{outer}"), values.get(f"mean_loss/{inner}")
        lowest, lowest_inside = self.lowest.get(f"mean_loss/{outer}"), self.lowest.get(f"mean_loss/{inner}")
        if loss is None or inside is None or lowest is None or lowest_inside is None:
            return None
        if inside > lowest_inside * (1 + self.SLACK):
            return None
        if loss > lowest * (1 + self.RISE):
            return f"the loss of {outer} rose from {lowest:.4g} to {loss:.4g} while that of {inner} is {inside:.4g}"
        before = sorted(self.gradients.get(outer, ()))
        norm = values.get(f"gradient_norm/{outer}", 0.0)
        if len(before) < self.PATIENCE:
            return None
        median = before[len(before) // 2]
        if not median:  # no gradient so far, so there is nothing to compare with
            return None
        if norm > median * self.FACTOR or norm * self.FACTOR < median:
            what = "exploded" if norm > median else "vanished"
            return f"the gradient of {outer} {what}, from {median:.3g} to {norm:.3g}, while {inner} still improves"
        return None

    def state(self) -> str:
        """Return the readings so far as JSON, for a checkpoint."""
        return json.dumps([self.lowest, self.gradients, self.bad])

    def restore(self, state: str) -> None:
        """Load the result of :meth:`state`."""
        self.lowest, self.gradients, self.bad = json.loads(state)


ADVICE = (
    "Try: a lower learning_rate or a longer warmup for this phase; a smaller clip; 'freeze: [{inner}]' with the levels "
    "inside it until {outer} has settled; a larger weight for it in loss.levels; or weighting min_snr"
)
