"""Inputs of a network: lists in place of tensors, and their checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["Values", "as_input", "check_classes", "check_images"]

HALF = (torch.float16, torch.bfloat16)

#: A tensor, or numbers in lists.
Values = Tensor | Sequence[Any]


def as_input(name: str, value: Any, device: torch.device) -> Tensor:
    """Return a tensor as it is, and numbers or lists of numbers as a tensor.

    Args:
        name: Name of the input, for messages.
        value: Tensor, number, array, or lists of numbers.
        device: Device of a new tensor.

    Raises:
        ValueError: These are no numbers, lists of different lengths, or an empty list.
    """
    if isinstance(value, Tensor):
        return value
    try:
        if isinstance(value, (list, tuple)) and value and all(isinstance(each, Tensor) for each in value):
            found = torch.stack(list(value)).to(device)
        else:
            found = torch.as_tensor(value, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} is not a tensor of numbers: {str(error).partition(chr(10))[0]}") from None
    if not found.numel():
        raise ValueError(f"{name} is empty")
    return found


def check_images(label: str, z: Tensor, weights: torch.dtype) -> None:
    """Check the type of the noisy images of a level.

    Raises:
        ValueError: They are no floating-point numbers, or of double precision where the weights are not.
    """
    if not z.is_floating_point() or (z.dtype == torch.float64 and weights in (torch.float32, *HALF)):
        raise ValueError(f"the input of level {label} is {z.dtype}; the weights are {weights}")


def check_classes(classes: Tensor, count: int) -> None:
    """Check class indices (batch,), unless looking at them would need the GPU or a trace.

    Raises:
        ValueError: An index is not a whole number from 0 to ``count``, which means no class.
    """
    if classes.is_floating_point() or classes.is_complex() or classes.dtype == torch.bool:
        raise ValueError(f"classes are whole numbers, not {classes.dtype}")
    if type(classes) is not Tensor or classes.device.type != "cpu" or torch.compiler.is_compiling():
        return
    if classes.numel() and not 0 <= int(classes.min()) <= int(classes.max()) <= count:
        wrong = next(index for index in classes.tolist() if not 0 <= index <= count)
        raise ValueError(f"class {wrong} does not exist; classes are from 0 to {count - 1}, or {count} for none")
