"""What training looks like level by level: losses by noise, norms of gradients, and the alarm for a collapse.

The failure to watch for in training levels jointly is that the high resolution collapses while the low one, which has
most of the loss, goes on improving, so that the sum hides it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor

__all__ = ["BINS", "CollapseAlarm", "Monitor", "bin_names"]

Total = Callable[[Tensor], Tensor]
#: Equal parts of the time index.
BINS = 4


def bin_names(times: int) -> list[str]:
    """The bins of the time index by name: ``0-249`` and so on; time grows with noise."""
    edges = [-(-times * index // BINS) for index in range(BINS + 1)]
    return [f"{first}-{max(first, last - 1)}" for first, last in pairwise(edges)]


class Monitor:
    """Sums losses and gradients of some steps on the device, and reads them once at the end.

    Args:
        labels: of the levels, outermost first.
        times: number of time indices.
        device: where the losses are.
    """

    def __init__(self, labels: tuple[str, ...], times: int, device: torch.device | str = "cpu") -> None:
        self.labels, self.times = labels, times
        #: Sum of losses and number of rows by level and bin; sum of gradient norms by level and number of steps.
        self.losses = torch.zeros(len(labels), BINS, dtype=torch.float64, device=device)
        self.rows = torch.zeros_like(self.losses)
        self.norms = torch.zeros(len(labels) + 1, dtype=torch.float64, device=device)

    @torch.no_grad()
    def add(self, losses: Mapping[str, Tensor], t: Tensor, norms: Mapping[str, Tensor]) -> None:
        """Count a step; nothing is read from the device.

        Args:
            losses: of every row, (rows,), by level.
            t: time indices (rows of the innermost level,).
            norms: of the gradient, by level; a level that is frozen has none.
        """
        bins = t * BINS // self.times
        for index, label in enumerate(self.labels):
            each = losses[label].double()
            self.losses[index].index_add_(0, bins[: len(each)], each)
            self.rows[index].index_add_(0, bins[: len(each)], torch.ones_like(each))
            if label in norms:
                self.norms[index] += norms[label]
        self.norms[-1] += 1

    def read(self, total: Total | None = None) -> dict[str, float]:
        """The means since the last reading, by name; then start anew.

        Args:
            total: sums a tensor over processes, where there are several.

        Returns:
            ``loss_by_noise/r64/0-249`` for each level and bin that had rows, ``mean_loss/r64`` over all of them, and
            ``gradient_norm/r64``, 0 for a frozen level. Nothing, if no step was counted.
        """
        # One vector, so that the device is read once.
        counts = torch.cat([self.losses.flatten(), self.rows.flatten()])
        flat = counts if total is None else total(counts)
        numbers = torch.cat([flat, self.norms]).tolist()
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

    def state(self, total: Total | None = None) -> dict[str, Tensor]:
        """What was counted so far, for a checkpoint; ``total`` as in :meth:`read`."""
        if total is None:
            return {"losses": self.losses, "rows": self.rows, "norms": self.norms}
        return {"losses": total(self.losses), "rows": total(self.rows), "norms": self.norms}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what :meth:`state` gave."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])


class CollapseAlarm:
    """Says when an outer level gets worse while the level inside it gets better.

    A reading counts against a level if its loss lies ``rise`` above its lowest, or its gradient is ``factor`` times
    larger or smaller than the median of its readings so far, while the loss of the level inside is no more than
    ``slack`` above its own lowest. ``patience`` such readings in a row raise the alarm, once until the level recovers.
    Losses of single readings scatter by a few per cent, which ``rise`` leaves room for.

    Args:
        labels: of the levels, outermost first.
        weighted: those that have a loss and are trained.
    """

    def __init__(
        self,
        labels: tuple[str, ...],
        weighted: tuple[str, ...],
        *,
        rise: float = 0.25,
        factor: float = 30.0,
        slack: float = 0.1,
        patience: int = 3,
    ) -> None:
        self.pairs = [(o, i) for o, i in pairwise(labels) if o in weighted]
        self.rise, self.factor, self.slack, self.patience = rise, factor, slack, patience
        self.lowest: dict[str, float] = {}
        self.gradients: dict[str, list[float]] = {}
        self.bad: dict[str, int] = {}

    def watch(self, values: Mapping[str, float]) -> list[str]:
        """Take a reading of :class:`Monitor`; the messages of alarms that it raises."""
        messages = []
        for outer, inner in self.pairs:
            problem = self._problem(values, outer, inner)
            self.bad[outer] = self.bad.get(outer, 0) + 1 if problem else 0
            if problem and self.bad[outer] == self.patience:
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
        if inside > lowest_inside * (1 + self.slack):
            return None
        if loss > lowest * (1 + self.rise):
            return f"the loss of {outer} rose from {lowest:.4g} to {loss:.4g} while that of {inner} is {inside:.4g}"
        before = sorted(self.gradients.get(outer, ()))
        norm = values.get(f"gradient_norm/{outer}", 0.0)
        if len(before) < self.patience:
            return None
        median = before[len(before) // 2]
        if not median:  # so many steps of no gradient are no measure
            return None
        if norm > median * self.factor or norm * self.factor < median:
            what = "exploded" if norm > median else "vanished"
            return f"the gradient of {outer} {what}, from {median:.3g} to {norm:.3g}, while {inner} goes on learning"
        return None

    def state(self) -> str:
        """What was seen so far, as JSON, for a checkpoint."""
        return json.dumps([self.lowest, self.gradients, self.bad])

    def restore(self, state: str) -> None:
        """Go on from what :meth:`state` gave."""
        self.lowest, self.gradients, self.bad = json.loads(state)


ADVICE = (
    "Try: a lower learning_rate or a longer warmup for this phase; a smaller clip; 'freeze: [{inner}]' with the levels "
    "inside it until {outer} has settled; a larger weight for it in loss.levels; or weighting min_snr"
)
