"""Parameters of a network by level, and loading the inner levels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from builders.networks.nested_unet import NestedUNet
from builders.seeds import derived_seed


def parameters_by_level(model: NestedUNet) -> dict[str, list[nn.Parameter]]:
    """Return the trainable parameters by level, outermost first; the inputs belong to the innermost level."""
    found: dict[str, list[nn.Parameter]] = {label: [] for label in model.labels}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            found[level_of(name, model.labels)].append(parameter)
    return found


def level_of(parameter: str, labels: Sequence[str]) -> str:
    """Return the level of a parameter by its name.

    Args:
        parameter: Name of the parameter in the network.
        labels: Labels of the levels, outermost first. Inputs belong to the innermost level.
    """
    return parameter.split(".")[1] if parameter.startswith("levels.") else labels[-1]


def adapters(model: NestedUNet, labels: Collection[str]) -> list[nn.Module]:
    """Return the convolutions through which features enter and leave some levels, from and to those around them.

    Args:
        model: Network.
        labels: Labels of levels inside another one.
    """
    pairs = pairwise(model.labels)
    names = [f"{around}.nest.{way}" for around, inner in pairs if inner in labels for way in ("enter", "leave")]
    return [model.levels.get_submodule(name) for name in names]


def load_inner(model: NestedUNet, state_dict: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Load the weights of an entry into the same levels of a network around it.

    Args:
        model: Network to load into.
        state_dict: Weights of the inner entry.

    Returns:
        Labels of the loaded levels, outermost first.

    Raises:
        ValueError: The weights are not those of inner levels of ``model``.
    """
    missing, unexpected = model.load_state_dict(dict(state_dict), strict=False)
    given = {key.split(".")[1] for key in state_dict if key.startswith("levels.")}
    lacking = [key for key in missing if not key.startswith("levels.") or key.split(".")[1] in given]
    if unexpected or lacking or not given:
        parts = [f"unknown {key}" for key in unexpected] + [f"missing {key}" for key in lacking]
        raise ValueError(f"these are not weights of an inner level of {model.graph.name}: {', '.join(parts[:8])}")
    return tuple(label for label in model.labels if label in given)


@torch.no_grad()
def draw_by_name(model: NestedUNet, seed: int) -> None:
    """Draw the initial weights again, so that those of a module depend on its name, its shape and the seed alone.

    Entries that share a level then begin with the same weights in it, whatever levels are around it or inside.
    Parameters that are set when they are initialized, such as zeros, keep their values.

    Args:
        model: Network with fresh weights, on the CPU.
        seed: Seed. torch's global generator is left where the last module ends.
    """
    for name, module in model.named_modules():
        draw = getattr(module, "reset_parameters", None)
        own = dict(module.named_parameters(recurse=False))
        if draw is None or not own:
            continue
        before = {key: value.detach().clone() for key, value in own.items()}
        torch.manual_seed(derived_seed(seed, "weights", name))
        draw()
        for key, value in own.items():
            if _is_set(before[key]):
                value.copy_(before[key])


def _is_set(value: Tensor) -> bool:
    """Return whether fresh weights were not drawn: all are equal, or they are an identity (a Dirac delta)."""
    found = set(value.unique().tolist()) if value.numel() > 1 else set()
    return len(found) == 1 or found == {0.0, 1.0} or (value.numel() == 1 and value.item() in (0.0, 1.0))
