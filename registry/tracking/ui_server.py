"""MLflow's page on this machine: find a server that runs, start one, and stop it.

The file ``.mlflow-ui.json`` beside a store has the address and the key of its page. Nothing in it is trusted: a process
is only used and stopped if it carries the key in its environment, and its address is always on this machine.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import socket
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from builders.files import file_lock, read_regular, write_text
from registry.tracking.stores.addresses import mlflow_uri, sqlite_path
from registry.tracking.ui_processes import is_page, launch, stop_page

__all__ = ["Server", "ServerError", "find_server", "start_server", "stop_server"]

#: Timeout for the start of MLflow in seconds, and the pause between two looks at it.
PATIENCE, PAUSE = 90.0, 0.2
LOG = "mlflow-ui.log"
#: Largest ``.mlflow-ui.json``.
MAX_BYTES = 10_000
_ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d{1,5})")


class ServerError(ValueError):
    """The server cannot be started; the message says why."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        address: Its address.
        process: Identifier of its first process, if it was started on this machine by ``zoo dashboard``.
        key: Key of its processes.
        own: Whether this process started it.
    """

    address: str
    process: int | None = None
    key: str = field(default="", repr=False)
    own: bool = False

    @property
    def runs(self) -> bool:
        """Whether the process of a page that was started here is alive."""
        found = _ADDRESS.fullmatch(self.address)
        return found is not None and self.process is not None and is_page(self.process, self.key, int(found[1]))


def find_server(uri: str) -> Server | None:
    """Return the server of a store: a tracking server itself, or the one that was started here for a SQLite file."""
    if uri.startswith(("http://", "https://")):
        return Server(uri.rstrip("/"))
    server = _read(uri)
    return server if server is not None and server.runs and _answers(server.address) else None


def start_server(uri: str, port: int | None = None, stop: Callable[[], bool] = lambda: False) -> Server:
    """Start MLflow's page for a store on this machine, and wait until it answers.

    If another process starts the page of this store at the same time, its page is returned.

    Args:
        uri: Address of the store.
        port: Port of the server. The default is 5000 if it is free, or else any free port.
        stop: Function that is called while waiting; if it returns True, the page is stopped.

    Raises:
        ServerError: The port is in use, or MLflow does not start.
        KeyboardInterrupt: ``stop`` returned True.
        OSError: The log or the file with the address cannot be written.
    """
    while not stop():
        with file_lock(_server_file(uri).with_suffix(".lock"), wait=False) as mine:
            if mine:
                return find_server(uri) or _start(uri, port, stop)
        time.sleep(PAUSE)
    raise KeyboardInterrupt


def _start(uri: str, port: int | None, stop: Callable[[], bool]) -> Server:
    free = _free_port(port) if port is not None else _free_port(5000) or _free_port(0)
    if free is None:
        raise ServerError(f"port {port} is in use; choose another one with --port")
    log, secret = _server_file(uri).with_name(LOG), secrets.token_hex(16)
    key = _key(secret, uri)
    uploads = (log.parent / "mlartifacts").as_uri()
    try:
        process = launch(mlflow_uri(uri), free, key, log, uploads)
        server = Server(f"http://127.0.0.1:{free}", process.pid, key, own=True)
        deadline = time.monotonic() + PATIENCE
        while not _answers(server.address):
            if process.poll() is not None:
                raise ServerError(f"MLflow's page did not start (exit code {process.returncode}); see {log}")
            if time.monotonic() > deadline:
                raise ServerError(f"MLflow's page did not answer within {PATIENCE:.0f} s; see {log}")
            if stop():
                raise KeyboardInterrupt
            time.sleep(PAUSE)
        facts = {"address": server.address, "process": server.process, "key": secret}
        write_text(_server_file(uri), json.dumps(facts) + "\n")
    except BaseException:
        stop_page(key)
        raise
    return server


def stop_server(uri: str, server: Server | None = None) -> bool:
    """Stop a server that was started here for a store; return False if there is none.

    Args:
        uri: Address of the store.
        server: Server to stop. Default: the one that the file beside the store names.
    """
    known = _read(uri)
    target = server or known
    if target is None or not target.key:
        return False
    stopped = stop_page(target.key)
    if known is not None and known.key == target.key:
        _server_file(uri).unlink(missing_ok=True)
    return stopped


def _read(uri: str) -> Server | None:
    """Return what the file beside a store says; it may be out of date or of another origin."""
    try:
        facts = json.loads(read_regular(_server_file(uri), MAX_BYTES))
        address, process, secret = facts["address"], facts["process"], facts["key"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    # Of a file that was written by others nothing but an address on this machine is taken.
    right = isinstance(process, int) and isinstance(secret, str) and isinstance(address, str)
    return Server(address, process, _key(secret, uri)) if right and _ADDRESS.fullmatch(address) else None


def _key(secret: str, uri: str) -> str:
    """Return the key of a page: that of a copied project is another one."""
    return hashlib.sha256(f"{secret} {uri}".encode("utf-8", "replace")).hexdigest() if secret else ""


def _server_file(uri: str) -> Path:
    """Return the file beside a SQLite store that has the address of its server."""
    path = sqlite_path(uri) or Path.cwd() / "mlflow.db"
    return path.with_name(".mlflow-ui.json")


def _answers(address: str) -> bool:
    # Without the proxies of the user: the page is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{address}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def _free_port(port: int) -> int | None:
    """Return the port if it is free, or None; for port 0, return any free port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return None
        return int(probe.getsockname()[1])
