"""Versions, commit and hardware, stored with every number."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["environment", "hardware", "source_commit"]


def environment(device: torch.device | str = "cpu") -> dict[str, str]:
    """Return versions of Python and libraries, the hardware, and the commit if the source is a git checkout."""
    from builders.versions import versions

    found = {f"version.{name}": value for name, value in versions().items()}
    found["hardware"] = hardware(device)
    commit = source_commit()
    return found | ({"commit": commit} if commit else {})


def hardware(device: torch.device | str = "cpu") -> str:
    """Return the hardware in one line: processor, cores, and the GPU if ``device`` is one."""
    line = f"{platform.machine()}, {os.cpu_count()} cores"
    if not str(device).startswith("cuda"):
        return line
    import torch

    return f"{torch.cuda.get_device_name(device)}, {line}"


@lru_cache(maxsize=1)
def source_commit() -> str | None:
    """Return the commit of the running source; None if it is not a git checkout."""
    folder = Path(__file__).parent.parent
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
