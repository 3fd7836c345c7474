"""Several processes that share the runs of a study."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence

__all__ = ["run_shared"]

OPTION = "--processes"


def run_shared(processes: int, run: Callable[[], None]) -> None:
    """Run a study in several processes: this one, and others of the same command.

    A process that fails or is killed leaves its run to this one.

    Args:
        processes: Number of processes.
        run: Function that runs what is missing and no other process does. Whatever it raises, and a signal, ends the
            other processes too; they save their states.

    Raises:
        OSError: A process cannot be started.
    """
    others: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(processes - 1):
            others.append(_start())
        run()
        codes = [code for other in others if (code := other.wait())]
        if codes:
            ended = "another process" if len(codes) == 1 else f"{len(codes)} other processes"
            print(f"warning: {ended} ended with code {codes[0]}; what is left of it is run here", file=sys.stderr)
            run()
    finally:
        for other in others:
            other.terminate()  # a signal that is not of the terminal reached this process alone
        for other in others:
            other.wait()


def _start() -> subprocess.Popen[bytes]:
    """Start a process of the same command. Ctrl-C in a terminal reaches it too."""
    command = [sys.executable, "-m", "zoo", *_alone(sys.argv[1:]), "--quiet"]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def _alone(words: Sequence[str]) -> list[str]:
    """Return the words of a command without the number of processes."""
    found, skip = list[str](), False
    for word in words:
        if not skip and word.partition("=")[0] != OPTION:
            found.append(word)
        skip = not skip and word == OPTION
    return found
