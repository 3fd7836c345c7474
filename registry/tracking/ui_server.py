"""MLflow's page on this machine: find a server that runs, start one, and stop it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from builders.files import write_text

__all__ = ["Server", "ServerError", "find_server", "start_server", "stop_server"]

#: Timeout for the start of MLflow in seconds.
PATIENCE = 90.0
LOG = "mlflow-ui.log"


class ServerError(ValueError):
    """The server cannot be started; the message says why."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its address and, if it was started here, the identifier of its process group."""

    address: str
    process: int | None = None


def find_server(uri: str) -> Server | None:
    """Return the server of a store: a tracking server itself, or the one that was started here for a SQLite file."""
    if uri.startswith(("http://", "https://")):
        return Server(uri.rstrip("/"))
    try:
        facts = json.loads(_server_file(uri).read_text())
        server = Server(facts["address"], int(facts["process"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return server if _answers(server.address) and _is_alive(server.process) else None


def start_server(uri: str, port: int | None = None) -> Server:
    """Start MLflow's page for a store on this machine, and wait until it answers.

    Args:
        uri: Address of the store.
        port: Port of the server. The default is 5000 if it is free, or else any free port.

    Raises:
        ServerError: The port is in use, or MLflow does not start.
    """
    if port is not None and not _is_free(port):
        raise ServerError(f"port {port} is in use; choose another one with --port")
    port = port or _free_port()
    log = _server_file(uri).with_name(LOG)
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    with log.open("ab") as output:
        # A new process group, because MLflow leaves workers behind when only its parent process is stopped.
        process = subprocess.Popen(
            command,
            env=settings | dict(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=log.parent,
        )
    server = Server(f"http://127.0.0.1:{port}", process.pid)
    deadline = time.monotonic() + PATIENCE
    try:
        while not _answers(server.address):
            if process.poll() is not None:
                raise ServerError(f"MLflow's page did not start (exit code {process.returncode}); see {log}")
            if time.monotonic() > deadline:
                raise ServerError(f"MLflow's page did not answer within {PATIENCE:.0f} s; see {log}")
            time.sleep(0.2)
    except BaseException:
        _end(process.pid)
        raise
    write_text(_server_file(uri), json.dumps({"address": server.address, "process": server.process}) + "\n")
    return server


def stop_server(uri: str) -> bool:
    """Stop the server that was started here for a store; return False if there is none."""
    server = find_server(uri)
    if server is None or server.process is None:
        return False
    _end(server.process)
    _server_file(uri).unlink(missing_ok=True)
    return True


def _server_file(uri: str) -> Path:
    """Return the file beside a SQLite store that has the address of its server."""
    path = Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else Path.cwd() / "mlflow.db"
    return path.with_name(".mlflow-ui.json")


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False


def _is_alive(process: int | None) -> bool:
    try:
        os.kill(process or 0, 0)
        return process is not None
    except OSError:
        return False


def _end(process: int) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process, number)
        except OSError:
            return
        time.sleep(1.0)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except (OSError, OverflowError):
            return False


def _free_port() -> int:
    if _is_free(5000):
        return 5000
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
