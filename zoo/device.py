"""The device a command computes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["pick_device"]


def pick_device(name: str | None) -> torch.device:
    """Return the named device after trying it; without a name, a GPU if there is one, else the CPU.

    Raises:
        ValueError: The device does not exist on this machine.
    """
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
