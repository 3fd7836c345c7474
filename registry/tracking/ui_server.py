"""MLflow's page on this machine: find a server that runs, start one, and stop it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
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
        address, process = str(facts["address"]), int(facts["process"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Server(address, process) if _answers(address) and _is_alive(process) else None


def start_server(uri: str, port: int | None = None) -> Server:
    """Start MLflow's page for a store on this machine, and wait until it answers.

    Args:
        uri: Address of the store.
        port: Port of the server. The default is 5000 if it is free, or else any free port.

    Raises:
        ServerError: The port is in use, or MLflow does not start.
    """
    free = _free_port(port) if port is not None else _free_port(5000) or _free_port(0)
    if free is None:
        raise ServerError(f"port {port} is in use; choose another one with --port")
    log = _server_file(uri).with_name(LOG)
    process = _launch(uri, free, log)
    server = Server(f"http://127.0.0.1:{free}", process.pid)
    deadline = time.monotonic() + PATIENCE
    try:
        while not _answers(server.address):
            if process.poll() is not None:
                raise ServerError(f"MLflow's page did not start (exit code {process.returncode}); see {log}")
            if time.monotonic() > deadline:
                raise ServerError(f"MLflow's page did not answer within {PATIENCE:.0f} s; see {log}")
            time.sleep(0.2)
    except BaseException:
        _stop(process.pid)
        raise
    write_text(_server_file(uri), json.dumps({"address": server.address, "process": server.process}) + "\n")
    return server


def stop_server(uri: str) -> bool:
    """Stop the server that was started here for a store; return False if there is none."""
    server = find_server(uri)
    if server is None or server.process is None:
        return False
    _stop(server.process)
    _server_file(uri).unlink(missing_ok=True)
    return True


def _server_file(uri: str) -> Path:
    """Return the file beside a SQLite store that has the address of its server."""
    path = Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else Path.cwd() / "mlflow.db"
    return path.with_name(".mlflow-ui.json")


def _launch(uri: str, port: int, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", "127.0.0.1"]
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with log.open("ab") as output:
        return subprocess.Popen(
            [*command, "--port", str(port), "--workers", "1"],
            env=settings | dict(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # A new process group, because MLflow leaves workers behind when only its parent process is stopped.
            start_new_session=True,
            cwd=log.parent,
        )


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


def _stop(process: int) -> None:
    """Stop a process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process, number)
        except OSError:
            return
        time.sleep(1.0)


def _free_port(port: int) -> int | None:
    """Return the port if it is free, or None; for port 0, return any free port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return None
        return int(probe.getsockname()[1])
