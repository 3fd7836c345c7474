"""Levels that predict the residual of their image over the enlarged prediction of the level inside.

Let u be the enlarged clean prediction of the level inside, and the residual x - u of standard deviation r. If it were
normal, the best prediction from z = sqrt(g) x + sqrt(1 - g) eps would be

    x = u + c (z - sqrt(g) u),    c = sqrt(g) r^2 / d,    d = g r^2 + 1 - g,

with an error of standard deviation r sqrt((1 - g) / d). The network predicts this error, in its units: this is the
preconditioning of arXiv 2206.00364 (equation 7 and appendix B.6) around u in place of 0. As a v prediction,

    v = sqrt(1 - g) (sqrt(g) (1 - r^2) z - u) / d + r / sqrt(d) f,

where f is the output of the network, which is trained to have a variance of about 1 at all times. In pure noise, the
prediction is u + r f; without noise, f is the noise. An f of 0 enlarges the level inside, so that a new level begins
with what the levels inside know.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from builders.diffusion.process import Number, per_row, x0_from_v
from specs.graph import EntryGraph

__all__ = ["add_inner_predictions", "enlarge", "residual_v"]


def residual_v(z: Tensor, output: Tensor, enlarged: Tensor, alpha_bar: Number, std: float) -> Tensor:
    """Return the v prediction of a level that predicts a residual.

    Args:
        z: Noisy images (rows, channels, height, width), or clips (rows, channels, frames, height, width).
        output: Output of the network in the same shape.
        enlarged: Enlarged clean prediction of the level inside, in the same shape.
        alpha_bar: Schedule of the level at their times.
        std: Standard deviation of the residual.
    """
    g, variance = per_row(alpha_bar, z), std**2
    d = g * variance + 1 - g
    return (1 - g).sqrt() * (g.sqrt() * (1 - variance) * z - enlarged) / d + std * d.rsqrt() * output


def enlarge(x: Tensor, like: Tensor) -> Tensor:
    """Return images or clips at the size of ``like``: bicubic in space, each frame repeated in time.

    Args:
        x: Images (rows, channels, height, width), or clips (rows, channels, frames, height, width).
        like: Images or clips whose sides and frames are multiples of those of ``x``.
    """
    side = like.shape[-1]
    if like.dim() == 4:
        return _bicubic(x, side)
    frames = x.unsqueeze(2) if x.dim() == 4 else x
    rows = _bicubic(frames.transpose(1, 2).flatten(0, 1), side)
    clips = rows.unflatten(0, (len(x), -1)).transpose(1, 2)
    return clips.repeat_interleave(like.shape[2] // clips.shape[2], dim=2)


def _bicubic(x: Tensor, side: int) -> Tensor:
    if x.shape[-1] == side:
        return x
    return functional.interpolate(x, size=(side, side), mode="bicubic", align_corners=False)


def add_inner_predictions(
    outputs: Sequence[Tensor], z: Sequence[Tensor], graph: EntryGraph, alpha_bar: Sequence[Number]
) -> list[Tensor]:
    """Return the predictions of every level, outermost first, from the outputs of a network.

    If the process of the entry has no ``residual``, they are the outputs. Otherwise they are v predictions, in float32.
    A level learns nothing from the loss of the levels around it through its enlarged prediction.

    Args:
        outputs: Outputs of the network by level, outermost first. A level may have fewer rows than the one inside.
        z: Noisy images or clips in the same shapes.
        graph: Graph of the entry.
        alpha_bar: Schedule of each level at their times.
    """
    if graph.process.residual is None:
        return list(outputs)
    result = [outputs[-1].float()]
    for place in range(len(outputs) - 2, -1, -1):
        std = graph.process.residual_of(graph.labels[place])
        if std is None:
            result.insert(0, outputs[place].float())
            continue
        clean = x0_from_v(z[place + 1], result[0].detach(), alpha_bar[place + 1])
        enlarged = enlarge(clean[: len(z[place])], z[place])
        result.insert(0, residual_v(z[place], outputs[place].float(), enlarged, alpha_bar[place], std))
    return result
