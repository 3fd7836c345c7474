"""Processes of MLflow's page: marked when they start, so that no other process is ever taken for one of them."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import psutil

__all__ = ["is_page", "launch", "stop_page"]

#: Variable in the environment of all processes of a page: its key, a random text.
MARK = "ZOO_DASHBOARD_KEY"
#: Settings of a server that would move or replace its pages.
UNWANTED = ("MLFLOW_STATIC_PREFIX", "MLFLOW_ARTIFACTS_ONLY")
#: Seconds that processes have to end by themselves.
PATIENCE = 5.0


def launch(uri: str, port: int, key: str, log: Path, artifacts: str) -> subprocess.Popen[bytes]:
    """Start MLflow's page on this machine.

    Args:
        uri: Address of the store. It is not in the command line, which other users can read.
        port: Port of the page.
        key: Key of the page.
        log: File to which the output is appended.
        artifacts: Address of the folder for files that are uploaded to the page.

    Raises:
        OSError: The log is not a regular file, or cannot be written.
    """
    # Neither MLflow nor its workers may import modules from the folder in which the command was typed.
    safe = ["-P"] if sys.version_info >= (3, 11) else []
    command = [sys.executable, *safe, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)]
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"} | dict(os.environ)
    for name in UNWANTED:
        settings.pop(name, None)
    with _open_log(log) as output:
        return subprocess.Popen(
            [*command, "--workers", "1", "--artifacts-destination", artifacts],
            env=settings | {"PYTHONSAFEPATH": "1", MARK: key, "MLFLOW_BACKEND_STORE_URI": uri},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # The page may stay when the terminal is closed.
            start_new_session=True,
            # A folder from which Python imports anyway: uvicorn imports from its working folder.
            cwd=sysconfig.get_path("purelib"),
        )


def is_page(process: int, key: str, port: int) -> bool:
    """Return whether a process is the page with this key and port; False if it does not exist."""
    try:
        found = psutil.Process(process)
        command = found.cmdline()
        return _is_marked(found, key) and "mlflow" in command and f"--port {port}" in " ".join(command)
    except (psutil.Error, OSError, ValueError, OverflowError):
        return False


def stop_page(key: str) -> bool:
    """Stop all processes of a page, also workers whose parent has ended; return False if there are none."""
    stopped = False
    for _ in range(3):  # a process may start others meanwhile
        members = list(_members(key))
        if not members:
            break
        stopped = True
        for member in members:
            with contextlib.suppress(psutil.Error):
                member.terminate()
        _, alive = psutil.wait_procs(members, timeout=PATIENCE)
        for member in alive:
            with contextlib.suppress(psutil.Error):
                member.kill()
        psutil.wait_procs(alive, timeout=PATIENCE)
    return stopped


def _members(key: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and _is_marked(process, key):
                yield process


def _is_marked(process: psutil.Process, key: str) -> bool:
    """Return whether a process is of this user and has the key of a page in its environment."""
    if not key or (hasattr(os, "getuid") and process.uids().real != os.getuid()):
        return False
    return process.environ().get(MARK) == key


def _open_log(path: Path) -> BinaryIO:
    """Open a log for appending; a link, pipe or device in its place is refused."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags, 0o644)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "not a regular file", str(path))
    return os.fdopen(descriptor, "ab")
