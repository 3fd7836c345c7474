"""Muon for the matrices of hidden layers, with AdamW for all other parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from builders.training.engine.matrices import Moving, MuonSettings, move_matrices
from builders.training.sharding.tensors import is_sharded

__all__ = ["Muon", "hidden_matrices"]

#: Parts of a level that are neither embeddings nor its first and last convolution.
_OUTER = ("stem", "head", "time")


def hidden_matrices(names: Iterable[str], parameters: Iterable[Tensor]) -> list[bool]:
    """Return which parameters are matrices of hidden layers, with kernels of convolutions.

    Biases, norms, embeddings, and the first and last convolution of a level are not, as the source of Muon advises
    (Jordan et al., https://kellerjordan.github.io/posts/muon).

    Args:
        names: Names of the parameters in a network.
        parameters: The parameters.
    """
    found = []
    for name, parameter in zip(names, parameters, strict=True):
        part = name.split(".")
        found.append(parameter.dim() >= 2 and part[0] == "levels" and part[2] not in _OUTER)
    return found


class Muon(torch.optim.Optimizer):
    """Muon as torch computes it, for groups of parameters with ``matrix``, and AdamW for the others.

    A kernel (out, in, height, width) is the matrix (out, in x height x width). By default, updates of matrices are
    scaled so that their root mean square is about that of AdamW, so that learning rate and weight decay are common
    (Liu et al., arXiv 2502.16982, section 2.2).

    Args:
        params: Parameters, or groups of them; those of a group with ``matrix`` true have two dimensions or more.
            Default: parameters of two dimensions or more are matrices.
        lr: Learning rate.
        betas: Betas of AdamW.
        weight_decay: Weight decay of both.
        eps: Epsilon of AdamW.
        momentum: Momentum of Muon.
        nesterov: Whether the momentum is Nesterov's.
        ns_steps: Steps of the Newton-Schulz iteration.
        adjust_lr_fn: How the rate depends on the shape of a matrix, see :class:`torch.optim.Muon`.

    Raises:
        ValueError: A value is out of range, or parameters are divided among processes.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.01,
        eps: float = 1e-8,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
        adjust_lr_fn: str = "match_rms_adamw",
    ) -> None:
        if len(betas) != 2:
            raise ValueError(f"betas must be two numbers, not {len(betas)}")
        listed = list(params)
        groups = listed if listed and isinstance(listed[0], dict) else _by_kind(listed)
        adamw: dict[str, Any] = {"betas": betas, "eps": eps}
        muon: dict[str, Any] = {"momentum": momentum, "nesterov": nesterov, "ns_steps": ns_steps}
        muon |= {"adjust_lr_fn": adjust_lr_fn}
        own = [group | (muon if group.get("matrix") else adamw) for group in groups]
        super().__init__(own, {"lr": lr, "weight_decay": weight_decay, "matrix": False})
        if any(is_sharded(value) for group in self.param_groups for value in group["params"]):
            raise ValueError("it needs whole matrices")
        common: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
        others = [group for group in self.param_groups if not group["matrix"]]
        # Shares its groups and state with this optimizer.
        self._adamw = torch.optim.AdamW(others, fused=True, **common, **adamw) if others else None
        # Checks the settings, and has those that are not arguments here.
        self._fixed = torch.optim.Muon([nn.Parameter(torch.zeros(1, 1))], **common, **muon).defaults
        if not 0 <= ns_steps < 100:
            raise ValueError(f"ns_steps must be from 0 to 99, not {ns_steps}")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._adamw is not None:
            # Loading a state replaces both.
            self._adamw.state = self.state
            self._adamw.param_groups = [group for group in self.param_groups if not group["matrix"]]
            self._adamw.step()
        for group in self.param_groups:
            if group["matrix"]:
                found = self._fixed | group
                settings = MuonSettings(**{name: found[name] for name in MuonSettings._fields})
                move_matrices([self._moving(value) for value in group["params"] if value.grad is not None], settings)
        return loss

    def _moving(self, weight: Tensor) -> Moving:
        assert weight.grad is not None
        gradient, state = _flat(weight.grad), self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        return Moving(weight, gradient, state["momentum_buffer"])


def _flat(value: Tensor) -> Tensor:
    """Return a parameter or gradient as a matrix, (outputs, everything else)."""
    return value.detach().reshape(len(value), -1)


def _by_kind(parameters: list[Tensor]) -> list[dict[str, Any]]:
    """Return groups of matrices and of other parameters, by their dimensions."""
    kinds = [(kind, [value for value in parameters if (value.dim() >= 2) == kind]) for kind in (True, False)]
    return [{"params": group, "matrix": kind} for kind, group in kinds if group]
