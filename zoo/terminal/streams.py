"""The standard streams of the process, where some are closed or their reader is gone."""

from __future__ import annotations

import contextlib
import io
import os
import sys

__all__ = ["discard_output", "open_streams"]


def open_streams() -> None:
    """Open the standard streams that the process was started without (``zoo list >&-``) on the null device.

    Otherwise the next file that is opened would have the number of standard output, and receive what is printed.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            file = io.FileIO(number, mode, closefd=False)
            buffer = io.BufferedReader(file) if mode == "r" else io.BufferedWriter(file)
            setattr(sys, name, io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace"))


def discard_output() -> None:
    """Send what is still to be printed to the null device: Python flushes the streams once more at exit."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
            continue
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
