"""Parameters of a network by level, and loading those of its inner levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from builders.networks.nested_unet import NestedUNet


def parameters_by_level(model: NestedUNet) -> dict[str, list[nn.Parameter]]:
    """Parameters that are trained by level, outermost first; the inputs are the innermost level's."""
    found: dict[str, list[nn.Parameter]] = {label: [] for label in model.labels}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            found[level_of(name, model.labels)].append(parameter)
    return found


def level_of(parameter: str, labels: Sequence[str]) -> str:
    """The level of a parameter by its name in the network; ``labels`` are outermost first, the inputs innermost."""
    return parameter.split(".")[1] if parameter.startswith("levels.") else labels[-1]


def load_inner(model: NestedUNet, state_dict: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Load the weights of an inner entry into the levels it holds, and return the labels of those loaded.

    Raises:
        ValueError: the weights are not those of the inner levels of ``model``.
    """
    missing, unexpected = model.load_state_dict(dict(state_dict), strict=False)
    given = {key.split(".")[1] for key in state_dict if key.startswith("levels.")}
    lacking = [key for key in missing if not key.startswith("levels.") or key.split(".")[1] in given]
    if unexpected or lacking or not given:
        parts = [f"unknown {key}" for key in unexpected] + [f"missing {key}" for key in lacking]
        raise ValueError(f"these are not weights of an inner level of {model.graph.name}: {', '.join(parts[:8])}")
    return tuple(label for label in model.labels if label in given)
