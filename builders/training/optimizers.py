"""Optimizers of torch and timm by name, and their state by parameter name."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from builders.training.engine.muon import Muon
from builders.training.sharding.tensors import is_sharded, placed_like, small_like
from specs.schemas.optimizers import TORCH_OPTIMIZERS
from specs.schemas.recipe import OptimizerSpec

__all__ = [
    "OptimizerError", "build_optimizer", "flags_skip", "optimizer_state", "restore_optimizer", "updating_if",
]  # fmt: skip

#: Keys of parameter groups that are set from the recipe or at every step, so they are not saved.
_NOT_STATE = ("params", "lr", "initial_lr", "param_names", "factor")
Named = Sequence[tuple[str, nn.Parameter]]


class OptimizerError(ValueError):
    """An optimizer cannot be built as asked, or its state cannot be saved."""


def build_optimizer(
    spec: OptimizerSpec,
    parameters: Sequence[nn.Parameter],
    learning_rate: float,
    factors: Sequence[float] = (),
    matrices: Sequence[bool] = (),
) -> torch.optim.Optimizer:
    """Build an optimizer.

    Args:
        spec: Name and settings. Settings that are None keep the optimizer's own defaults.
        parameters: Parameters to optimize.
        learning_rate: Initial learning rate.
        factors: Factor of the learning rate of each parameter. Unless all are 1, parameters of one factor are a group,
            which has it as ``factor``.
        matrices: Whether each parameter is a matrix of a hidden layer, for "muon". Default: it has two dimensions or
            more.

    Raises:
        OptimizerError: The optimizer has no such setting, or rejects a value.
    """
    make = _maker(spec.name)
    accepted = inspect.signature(make).parameters
    given: dict[str, Any] = {"betas": spec.betas, "weight_decay": spec.weight_decay, "eps": spec.epsilon}
    given = {name: value for name, value in given.items() if value is not None} | dict(spec.options)
    settings = [name for name in accepted if name not in ("params", "lr", "self", "args", "kwargs")]
    called = {name: name for name in (*settings, *given)} | {"eps": "epsilon"}
    unknown = next((name for name in given if name not in settings), None)
    if unknown is not None:
        has = ", ".join(called[name] for name in settings)
        raise OptimizerError(f"optimizer {spec.name} has no setting {called[unknown]!r}; it has {has}")
    if spec.name not in TORCH_OPTIMIZERS and "momentum" in accepted:
        given.setdefault("momentum", 0.9)  # as timm's own factory does
    if "fused" in accepted and not any(given.get(name) for name in ("fused", "foreach", "differentiable")):
        # Fused SGD knows no sharded tensors.
        fused = ("adamw", "adam") if is_sharded(parameters[0]) else ("adamw", "adam", "sgd")
        given.setdefault("fused", spec.name in fused)
    try:
        _try(partial(make, lr=learning_rate, **given), parameters[0])
        kinds = {"matrix": matrices or [value.dim() >= 2 for value in parameters]} if make is Muon else {}
        return make(_grouped(parameters, factors, learning_rate, kinds), lr=learning_rate, **given)
    except (ValueError, TypeError, AssertionError, IndexError, RuntimeError, AttributeError) as error:
        shown = ", ".join(f"{called[name]} {value}" for name, value in given.items())
        if is_sharded(parameters[0]):
            reason = str(error).partition("\n")[0]
            raise OptimizerError(
                f"optimizer {spec.name} ({shown}) does not work with sharding: {reason}. Use another one, such as "
                "adamw, or train without --use_fsdp and memory.shard"
            ) from None
        raise OptimizerError(f"optimizer {spec.name} rejects its settings ({shown}): {error}") from None


def _grouped(
    parameters: Sequence[nn.Parameter],
    factors: Sequence[float],
    learning_rate: float,
    kinds: Mapping[str, Sequence[bool]],
) -> list[Any]:
    """Return the parameters, or groups of them if their learning rates or kinds differ.

    Args:
        parameters: Parameters to optimize.
        factors: Factor of the learning rate of each, or nothing.
        learning_rate: Learning rate that the factors multiply.
        kinds: Keys of groups, with their value of each parameter.
    """
    factored = any(factor != 1 for factor in factors)
    if not factored and not kinds:
        return list(parameters)
    groups: dict[tuple[Any, ...], list[nn.Parameter]] = {}
    keys = zip(factors or [1.0] * len(parameters), *kinds.values(), strict=True)
    for key, parameter in zip(keys, parameters, strict=True):
        groups.setdefault(key, []).append(parameter)
    return [
        {"params": group, "lr": learning_rate * factor}
        | ({"factor": factor} if factored else {})
        | dict(zip(kinds, values, strict=True))
        for (factor, *values), group in groups.items()
    ]


def _try(make: Callable[[list[nn.Parameter]], torch.optim.Optimizer], like: nn.Parameter) -> None:
    """Take a step with a dummy parameter, because some settings are only checked there.

    Args:
        make: Function that makes the optimizer.
        like: Parameter whose device, or division among processes, the dummy has.
    """
    parameter = nn.Parameter(small_like(like))
    parameter.grad = torch.ones_like(parameter)
    optimizer = make([parameter])
    optimizer.step()
    for key, value in optimizer.state[parameter].items():
        if is_sharded(value) and value.shape != parameter.shape:
            raise ValueError(f"its {key} is not divided like the weights")


def _maker(name: str) -> Callable[..., torch.optim.Optimizer]:
    if name == "muon" and hasattr(torch.optim, "Muon"):
        return Muon
    library, short = ("torch", name) if name in TORCH_OPTIMIZERS else ("timm", name.removeprefix("timm:"))
    try:
        if library == "torch":
            return {key.lower(): value for key, value in vars(torch.optim).items() if isinstance(value, type)}[name]
        from timm.optim import get_optimizer_class

        return get_optimizer_class(short, bind_defaults=True)
    except (ValueError, KeyError):
        raise OptimizerError(f"this {library} ({version(library)}) has no optimizer {short}") from None


def flags_skip(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether a flag on the device can make an optimizer skip an update: fused Adam and AdamW of plain tensors.

    Fused SGD leaves its momentum without values if it skips its first update.
    """
    groups = optimizer.param_groups
    plain = all(type(value.data) is Tensor for group in groups for value in group["params"])
    return plain and isinstance(optimizer, torch.optim.Adam) and all(group.get("fused") for group in groups)


@contextmanager
def updating_if(optimizer: torch.optim.Optimizer, good: Tensor | None) -> Iterator[None]:
    """Let an optimizer update nothing in this context unless a flag on the device is true, see :func:`flags_skip`.

    Args:
        optimizer: The optimizer.
        good: Boolean on the device of the parameters. None for an update in any case.
    """
    if good is None:
        yield
        return
    # Attributes that torch's gradient scaler sets, for the same purpose.
    flagged: Any = optimizer
    flagged.grad_scale, flagged.found_inf = None, (~good).float()
    try:
        yield
    finally:
        del flagged.grad_scale, flagged.found_inf


def optimizer_state(optimizer: torch.optim.Optimizer, named: Named) -> tuple[dict[str, Tensor], str]:
    """Return the state of an optimizer: tensors as ``KEY/PARAMETER``, and everything else as JSON.

    Raises:
        OptimizerError: The state has a value that cannot be saved.
    """
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for name, parameter in named:
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"{key}/{name}"] = value
            elif value is None or isinstance(value, (bool, int, float, str)):
                plain.setdefault(name, {})[key] = value
            else:
                raise OptimizerError(
                    f"the state of {type(optimizer).__name__} has a {type(value).__name__}, which cannot be saved"
                )
    groups = [
        {
            key: {"tensor": value.item()} if isinstance(value, Tensor) else value
            for key, value in group.items()
            if key not in _NOT_STATE and _is_plain(value)
        }
        for group in optimizer.param_groups
    ]
    return tensors, json.dumps({"state": plain, "groups": groups}, sort_keys=True)


def _is_plain(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.dim() == 0
    if isinstance(value, (tuple, list)):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (bool, int, float, str))


def restore_optimizer(
    optimizer: torch.optim.Optimizer, named: Named, tensors: Mapping[str, Tensor], plain: str, *, groups: bool = True
) -> None:
    """Load the result of :func:`optimizer_state`, for the parameters it names.

    Args:
        optimizer: New optimizer of the same kind.
        named: Its parameters by name. Parameters that are not in the state start fresh.
        tensors: Tensors of the state.
        plain: The rest of the state, as JSON.
        groups: Whether to load values of parameter groups too, such as a step count.
    """
    facts = json.loads(plain)
    by_name: dict[str, dict[str, Any]] = {name: dict(values) for name, values in facts["state"].items()}
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        by_name.setdefault(name, {})[kind] = value
    for name, parameter in named:
        if name not in by_name:
            continue
        optimizer.state[parameter] = {
            key: _placed(value, key, parameter, optimizer) if isinstance(value, Tensor) else value
            for key, value in by_name[name].items()
        }
    if groups:
        for group, saved in zip(optimizer.param_groups, facts["groups"], strict=True):
            group.update({key: _unpacked(value, group.get(key)) for key, value in saved.items()})


def _unpacked(value: Any, now: Any) -> Any:
    """Return a value of a parameter group from its JSON form."""
    if isinstance(value, dict):
        return torch.tensor(value["tensor"], device=now.device if isinstance(now, Tensor) else None)
    return tuple(value) if isinstance(value, list) else value


def _placed(value: Tensor, key: str, parameter: nn.Parameter, optimizer: torch.optim.Optimizer) -> Tensor:
    """Copy a tensor of the state to where the optimizer expects it: step counts on the CPU unless it is fused."""
    fused = any(group.get("fused") or group.get("capturable") for group in optimizer.param_groups)
    if key == "step" and value.dim() == 0 and not fused:
        return value.clone()
    if is_sharded(parameter) or value.shape != parameter.shape:
        return placed_like(value.clone().to(parameter.device), parameter)
    # Fused optimizers take elements in the order of memory, which must be that of the parameter.
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
