"""Data from a normal distribution, for which the optimal network is known in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["COVARIANCE", "MEAN", "exact_moments", "optimal", "optimal_map"]

_ROOT = torch.tensor([[0.7, 0.0, 0.0], [0.3, 0.4, 0.0], [-0.2, 0.1, 0.25]], dtype=torch.float64)
#: Mean (3,) and covariance (3, 3) of the data, which are images of one pixel with three channels.
MEAN, COVARIANCE = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64), _ROOT @ _ROOT.T


def exact_moments(rows: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return data and noise (rows, 3), float64, whose joint mean and covariance are exactly those of the population."""
    values = torch.randn(rows, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    values = values - values.mean(0)
    root = torch.linalg.cholesky(values.T @ values / rows)
    values = torch.linalg.solve_triangular(root, values.T, upper=False).T
    return MEAN + values[:, :3] @ _ROOT.T, values[:, 3:]


def optimal_map(kind: str, g: float) -> tuple[Tensor, Tensor]:
    """Return the matrix and the offset of the optimal prediction E[target | z], from the normal distribution of both.

    With target = a x + b eps and z = sqrt(g) x + sqrt(1 - g) eps.
    """
    signal, noise = g**0.5, (1 - g) ** 0.5
    a, b = {"v": (-noise, signal), "eps": (0, 1), "x": (1, 0), "flow": (-1, 1)}[kind]
    one = torch.eye(3, dtype=torch.float64)
    gain = (a * signal * COVARIANCE + b * noise * one) @ torch.linalg.inv(g * COVARIANCE + (1 - g) * one)
    return gain, a * MEAN - signal * gain @ MEAN


def optimal(kind: str, z: Tensor, g: float) -> Tensor:
    """Return the optimal prediction for noisy data z (rows, 3), or (rows, 3, 1, 1)."""
    gain, offset = optimal_map(kind, float(g))
    return (z.flatten(1).double() @ gain.T + offset).reshape(z.shape).to(z.dtype)
