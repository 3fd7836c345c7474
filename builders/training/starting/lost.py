"""Errors of processes that lose another one."""

from __future__ import annotations

import torch

__all__ = ["lost_process"]

#: Parts of the messages of torch's backends, in lower case.
_WORDS = ("gloo", "nccl", "connection closed by peer", "connection reset by peer", "broken pipe")


def lost_process(error: BaseException) -> str:
    """Return the reason if an error says that another process has ended or cannot be reached; otherwise empty.

    Args:
        error: An error of a collective operation.
    """
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    known = isinstance(error, torch.distributed.DistError) if torch.distributed.is_available() else False
    return text if known or any(word in text.lower() for word in _WORDS) else ""
