"""The device a command computes on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from specs.errors import did_you_mean
from zoo.allocator import keep_freed_memory

if TYPE_CHECKING:
    import torch

__all__ = ["check_device", "pick_device"]

#: Devices of torch that compute.
DEVICES = ("cpu", "cuda", "mps", "xpu", "hpu", "mtia", "maia", "xla", "ipu", "ve", "privateuseone")


def check_device(name: str | None) -> str | None:
    """Return the name of a device after checking it without importing torch.

    Raises:
        ValueError: torch has no such device.
    """
    if name is None:
        return None
    kind = name.partition(":")[0]
    if kind == "meta":
        raise ValueError(f"--device {name}: this device computes nothing")
    if (kind not in DEVICES and not _plugins()) or not re.fullmatch(r"[a-z]+(:[0-9]{1,4})?", name):
        hint = "; did you mean 'cuda'?" if kind == "gpu" else did_you_mean(kind, DEVICES)
        hint = hint or "; use cpu, cuda, cuda:1 or mps"
        raise ValueError(f"--device {name}: no such device{hint}")
    return name


def _plugins() -> bool:
    """Return whether an installed package adds devices to torch, whose names are unknown."""
    from importlib.metadata import entry_points

    return bool(entry_points(group="torch.backends"))


def pick_device(name: str | None) -> torch.device:
    """Return the named device after trying it; without a name, a GPU if there is one, else the CPU.

    For the CPU, memory that is freed in this process is kept for reuse from then on.

    Raises:
        ValueError: The device does not exist on this machine.
    """
    device = _tried(name)
    if device.type == "cpu":
        keep_freed_memory()
    return device


def _tried(name: str | None) -> torch.device:
    check_device(name)
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type != "meta":
            torch.zeros(1, device=device).cpu()  # a valid name can still be a device that is missing
            return device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"--device {name}: {reason}") from None
    raise ValueError(f"--device {name}: this device computes nothing")
