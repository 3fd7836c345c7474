"""Where a command computes: the device that was named, or a GPU if there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["pick_device"]


def pick_device(name: str | None) -> torch.device:
    """The named device, tried out; without a name a GPU if there is one, else the CPU.

    Raises:
        ValueError: there is no such device here.
    """
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        # As a use of it: a name may be well formed and its device not there. Training on meta would train nothing.
        if device.type != "meta":
            torch.zeros(1, device=device).cpu()
            return device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"--device {name}: {reason}") from None
    raise ValueError(f"--device {name}: it computes nothing")
