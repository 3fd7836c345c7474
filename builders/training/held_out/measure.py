"""Measures of a network on held-out samples: the v loss by time, and the error at fixed signal-to-noise ratios."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from builders.data.images import Images
from builders.diffusion.log_snr import index_at
from builders.diffusion.predictions import v_from, x0_from
from builders.diffusion.process import DiffusionProcess, add_noise, v_loss
from builders.diffusion.residual import add_inner_predictions
from builders.diffusion.shared_noise import share_noise
from builders.networks.nested_unet import NestedUNet
from builders.precision import autocast
from builders.text.encoder import TextEncoder
from builders.training.batches import Batch, make_batch
from builders.training.held_out.keyed import keyed_noise, keyed_points, keyed_times
from specs.schemas.held_out import LOG_SNRS, ValidationSpec

__all__ = ["HeldOut"]


class HeldOut:
    """A network, and the held-out images or clips that it is measured on.

    Args:
        model: Network. It is in evaluation mode while it is measured.
        process: Diffusion process of the network.
        data: Held-out split. Levels inside those of clips are measured on what they see of the clips.
        spec: Number of samples, and of draws of each.
        encoder: Text encoder, for a network that reads text.
        batch_size: Images, or frames of clips, per batch.
        seed: Seed of the times and noise.
        part: Index of this process, and number of processes that share the samples of each batch.
        total: Function that sums a tensor over these processes.
        precision: Precision of activations: "float32", "bfloat16" or "float16".
    """

    def __init__(
        self,
        model: NestedUNet,
        process: DiffusionProcess,
        data: Images,
        spec: ValidationSpec | None = None,
        encoder: TextEncoder | None = None,
        *,
        batch_size: int = 64,
        seed: int = 0,
        part: tuple[int, int] = (0, 1),
        total: Callable[[Tensor], Tensor] = lambda sums: sums,
        precision: str = "float32",
    ) -> None:
        self.part, self.total, self.precision = part, total, precision
        self.model, self.process, self.data, self.encoder = model, process, data, encoder
        self.spec, self.seed = spec or ValidationSpec(), seed
        self.device, self.kind = next(model.parameters()).device, model.graph.process.prediction
        frames = model.graph.frames
        self.rows, self.most = max(1, batch_size // frames), max(1, self.spec.samples // frames)

    @torch.no_grad()
    def v_losses(self) -> dict[str, float]:
        """Return the mean v loss of every level over uniform times, by label, outermost first."""
        sums = torch.zeros(len(self.model.labels) + 1, dtype=torch.float64, device=self.device)
        with self._evaluating():
            for draw, keys, drawn, share in self._passes(self.spec.draws):
                times = keyed_times(keys, draw, self.spec.draws, self.seed)
                batch = self._batch(drawn, (times * self.process.steps).long(), "time", draw)
                z = self.process.add_noise(batch.images, batch.eps, batch.t)
                shares = self.process.alpha_bar(batch.t + 1)
                predictions = self._forward(z, batch, shares)
                for place, g in enumerate(shares):
                    v = self._v(z[place], predictions[place], g)
                    sums[place] += share * v_loss(v, batch.images[place], batch.eps[place], g).double().sum()
                sums[-1] += share * len(keys)
        sums = self.total(sums)
        return dict(zip(self.model.labels, (sums[:-1] / sums[-1]).tolist(), strict=True))

    @torch.no_grad()
    def errors(self) -> dict[str, dict[float, float]]:
        """Return the mean squared error of the clean prediction at fixed log-SNRs of each level, by label.

        Each sample is measured at ``log_snr_draws`` of the 12 log-SNRs of every level, chosen by its key. The level has
        exactly this ratio, and the other levels the ones that they have at the same time. Ratios that are outside of a
        level's schedule, or that no sample is measured at, are left out.
        """
        labels, points = self.model.labels, len(LOG_SNRS)
        sums = torch.zeros(len(labels), points, 2, dtype=torch.float64, device=self.device)
        with self._evaluating():
            for draw, keys, drawn, share in self._passes(self.spec.log_snr_draws):
                chosen = torch.tensor(keyed_points(keys, draw))
                for level in range(len(labels)):
                    sums[level] += share * self._errors_of(level, drawn, chosen, draw)
        sums = self.total(sums)
        return {
            label: {
                value: total / count
                for value, (total, count) in zip(LOG_SNRS, sums[level].tolist(), strict=True)
                if count
            }
            for level, label in enumerate(labels)
        }

    @torch.no_grad()
    def outermost_errors(self, draws: int) -> dict[float, float]:
        """Return the mean squared error of the outermost level's clean prediction at all fixed log-SNRs of its own.

        Every sample is measured at each ratio. Ratios that are outside of the level's schedule are left out.

        Args:
            draws: Draws of noise of each sample, which are the same at all ratios and for all entries.
        """
        sums = torch.zeros(len(LOG_SNRS), 2, dtype=torch.float64, device=self.device)
        with self._evaluating():
            for draw, keys, drawn, share in self._passes(draws):
                for point in range(len(LOG_SNRS)):
                    sums += share * self._errors_of(0, drawn, torch.full((len(keys),), point), draw)
        totals = zip(LOG_SNRS, self.total(sums).tolist(), strict=True)
        return {ratio: total / count for ratio, (total, count) in totals if count}

    def _errors_of(self, level: int, drawn: dict[str, Any], chosen: Tensor, draw: int) -> Tensor:
        """Return the sums of a level's errors of some samples, and the samples, by log-SNR: (points, 2)."""
        schedule = self.process.schedules[level].cpu()
        found = [index_at(schedule, value) for value in LOG_SNRS]
        # Rows whose ratio is outside of the schedule are computed and not counted, so that all processes do the same.
        counted = torch.tensor([float(place is not None) for place in found], dtype=torch.float64)[chosen]
        index = torch.tensor([1 if place is None else place[0] for place in found])[chosen]
        excess = torch.tensor([0.0 if place is None else place[1] for place in found], dtype=torch.float64)[chosen]
        batch = self._batch(drawn, index - 1, "log-SNR", draw)
        shares = [_moved(each.cpu()[index], excess).to(self.device) for each in self.process.schedules]
        z = [add_noise(x, eps, g) for x, eps, g in zip(batch.images, batch.eps, shares, strict=True)]
        prediction = self._forward(z, batch, shares)[level].float()
        clean = x0_from(self.kind, z[level], prediction, shares[level])
        each = (clean - batch.images[level]).square().flatten(1).mean(1).double()
        counted, chosen = counted.to(self.device), chosen.to(self.device)
        result = torch.zeros(len(LOG_SNRS), 2, dtype=torch.float64, device=self.device)
        return result.index_add_(0, chosen, torch.stack([each * counted, counted], dim=1))

    def _forward(self, z: Sequence[Tensor], batch: Batch, shares: Sequence[Tensor]) -> list[Tensor]:
        """Return the predictions of every level, outermost first."""
        conditions = batch.conditions(self.encoder)
        with autocast(self.device, self.precision):
            outputs = self.model(list(z), batch.t, **conditions)
        return add_inner_predictions(outputs, z, self.model.graph, shares)

    def _v(self, z: Tensor, prediction: Tensor, g: Tensor) -> Tensor:
        """Return the v that a prediction implies, of eps with its clean images limited to [-1, 1] as in sampling."""
        if self.kind != "eps":
            return v_from(self.kind, z, prediction.float(), g)
        return v_from("x", z, x0_from("eps", z, prediction.float(), g).clamp(-1, 1), g)

    def _passes(self, draws: int) -> Iterator[tuple[int, list[str], dict[str, Any], int]]:
        """Yield number of the draw, keys and samples of every batch, which is read once for all draws, and 1.

        If a batch has fewer samples than there are processes, the last ones get its first sample, and 0: it is
        computed, because a sharded network runs in all processes, and not counted.
        """
        index, count = self.part
        for drawn in self.data.in_order(self.rows, most=self.most) if draws else ():
            share = int(index < len(drawn["key"]))
            own = _part(drawn, index if share else 0, count)
            for draw in range(draws):
                yield draw, list(own["key"]), own, share

    def _batch(self, drawn: dict[str, Any], t: Tensor, kind: str, draw: int) -> Batch:
        """Return a batch whose noise depends on the keys of its samples."""
        batch = make_batch(self.model.graph, drawn, t, torch.Generator())
        graph, seed = self.model.graph, self.seed
        eps = [
            keyed_noise(
                batch.keys, level.label, level.channels, level.size.shape, kind, draw, seed, offset=graph.process.offset
            )
            for level in graph.levels
        ]
        return replace(batch, eps=share_noise(eps, graph)).to(self.device)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        was_training = self.model.training
        self.model.eval()
        try:
            yield
        finally:
            self.model.train(was_training)


def _moved(alpha_bar: Tensor, excess: Tensor) -> Tensor:
    """Return a schedule (samples,) with its log-SNR raised by ``excess``, float32."""
    return torch.sigmoid(torch.logit(alpha_bar.double()) + excess).float()


def _part(drawn: dict[str, Any], index: int, count: int) -> dict[str, Any]:
    """Return every ``count``-th sample of a batch, from ``index``."""
    return drawn if count == 1 else {name: value[index::count] for name, value in drawn.items()}
