"""What a network predicts: v, the noise eps, the clean image x, or the velocity of a flow.

With z = sqrt(g) x + sqrt(1 - g) eps, each of them gives the others. The v of arXiv 2202.00512 (section 4) is
sqrt(g) eps - sqrt(1 - g) x. The flow is eps - x, the velocity of rectified flow (arXiv 2209.03003, equation 1, and
2403.03206, section 2): z / (sqrt(g) + sqrt(1 - g)) is (1 - s) x + s eps, a point on the straight line from x to eps.
Images have the shape (batch, channels, height, width), and clips the shape (batch, channels, frames, height, width).
"""

from __future__ import annotations

import torch
from torch import Tensor

from builders.diffusion.process import Number, add_noise, eps_loss, per_row, v_loss, v_target

__all__ = ["excuse_clipped", "prediction_loss", "prediction_target", "v_from", "x0_from"]


def prediction_target(kind: str, x: Tensor, eps: Tensor, alpha_bar: Number) -> Tensor:
    """Return what a network of this kind of prediction is trained to predict.

    Args:
        kind: "v", "eps", "x" or "flow".
        x: Clean images.
        eps: Noise that is added to them.
        alpha_bar: Schedule at their times.
    """
    if kind == "v":
        return v_target(x, eps, alpha_bar)
    return {"eps": eps, "x": x, "flow": eps - x}[kind]


def x0_from(kind: str, z: Tensor, prediction: Tensor, alpha_bar: Number) -> Tensor:
    """Return the clean images that a prediction implies.

    Args:
        kind: "v", "eps", "x" or "flow".
        z: Noisy images.
        prediction: Prediction in the shape of ``z``.
        alpha_bar: Schedule at their times; not 0 for "eps".
    """
    g = per_row(alpha_bar, z)
    signal, noise = g.sqrt(), (1 - g).sqrt()
    if kind == "v":
        return signal * z - noise * prediction
    if kind == "eps":
        return (z - noise * prediction) / signal
    return prediction if kind == "x" else (z - noise * prediction) / (signal + noise)


def v_from(kind: str, z: Tensor, prediction: Tensor, alpha_bar: Number) -> Tensor:
    """Return the v that a prediction implies; arguments as :func:`x0_from`, but ``alpha_bar`` is not 1."""
    if kind == "v":
        return prediction
    g = per_row(alpha_bar, z)
    return (g.sqrt() * z - x0_from(kind, z, prediction, g)) / (1 - g).sqrt()


def prediction_loss(kind: str, space: str, prediction: Tensor, x: Tensor, eps: Tensor, alpha_bar: Number) -> Tensor:
    """Return the mean squared error of each sample in a space, (batch,) float32.

    The error of the prediction itself is multiplied by what a squared error in its own space is worth in the other:
    errors in x, v, eps and flow are as 1 - g, 1, g and (sqrt(g) + sqrt(1 - g))^2.

    Args:
        kind: Kind of prediction: "v", "eps", "x" or "flow".
        space: Space of the error, one of the same.
        prediction: Predictions.
        x: Clean images.
        eps: Noise that was added to them.
        alpha_bar: Schedule at their times.
    """
    if kind == "v" and space in ("v", "eps"):
        return (v_loss if space == "v" else eps_loss)(prediction, x, eps, alpha_bar)
    error = (prediction.float() - prediction_target(kind, x, eps, alpha_bar)).square().flatten(1).mean(1)
    if kind == space:
        return error
    g = per_row(alpha_bar, error)
    return error * _worth(space, g) / _worth(kind, g)


def excuse_clipped(kind: str, prediction: Tensor, x: Tensor, eps: Tensor, alpha_bar: Number) -> Tensor:
    """Return predictions without the errors that clipping to [-1, 1] removes.

    Where a pixel is 1 and the clean prediction above 1, or a pixel is -1 and the prediction below -1, the clipped
    prediction is exact, and the result is the target, without a gradient. Everywhere else it is the prediction. The
    clipped prediction that is best for the remaining errors is the one that is best for all errors.

    Args:
        kind: "v", "eps", "x" or "flow".
        prediction: Predictions, float32.
        x: Clean images in [-1, 1].
        eps: Noise that was added to them.
        alpha_bar: Schedule at their times; not 0 for "eps".
    """
    with torch.no_grad():
        clean = x0_from(kind, add_noise(x, eps, alpha_bar), prediction, alpha_bar)
        exact = ((x >= 1) & (clean > 1)) | ((x <= -1) & (clean < -1))
        target = prediction_target(kind, x, eps, alpha_bar)
    return torch.where(exact, target, prediction)


def _worth(space: str, g: Tensor) -> Tensor:
    """Return the squared error in a space where that in v is 1."""
    if space == "flow":
        return (g.sqrt() + (1 - g).sqrt()).square()
    return {"x": 1 - g, "v": g.new_ones(()), "eps": g}[space]
