"""The standard streams of the process, where some are closed or their reader is gone."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from specs.addresses import without_secrets
from specs.printable import printable

__all__ = ["discard_output", "open_streams", "safe_streams", "trusted"]


class SafeStream:
    """A text stream that escapes the control characters of names, captions and messages.

    Args:
        stream: Stream to write to; its other attributes are those of this one.
        messages: Whether the texts are messages, in which addresses are shown without user, password and query.
    """

    def __init__(self, stream: TextIO, *, messages: bool = False) -> None:
        self.trusted = stream
        self._messages = messages

    def write(self, text: str) -> int:
        """Write a text; only line breaks and tabs are not escaped."""
        shown = text if text.isprintable() else printable(text, keep="\n\t")
        self.trusted.write(without_secrets(shown) if self._messages else shown)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write some texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.trusted, name)


@contextlib.contextmanager
def safe_streams() -> Iterator[None]:
    """Escape control characters in what is printed, and hide secrets of addresses in messages.

    Consoles of rich write to :func:`trusted` streams.
    """
    with (
        contextlib.redirect_stdout(SafeStream(sys.stdout)),
        contextlib.redirect_stderr(SafeStream(sys.stderr, messages=True)),
    ):
        yield


def trusted(stream: TextIO) -> TextIO:
    """Return the stream behind one of :func:`safe_streams`, for text without control characters of others."""
    return stream.trusted if isinstance(stream, SafeStream) else stream


def open_streams() -> None:
    """Open the standard streams that the process was started without (``zoo list >&-``) on the null device.

    Letters that the encoding of a stream lacks are printed as escapes.

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
        elif mode == "w" and isinstance(getattr(sys, name), io.TextIOWrapper):
            getattr(sys, name).reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Send what is still to be printed to the null device: Python flushes the streams once more at exit."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
            continue
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
