"""MLflow's page: found, started once, stopped with all its processes; no other process or address is ever touched."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest

from registry.tracking import ui_processes, ui_server
from registry.tracking.stores.addresses import sqlite_uri
from registry.tracking.ui_processes import MARK
from registry.tracking.ui_server import ServerError, find_server, start_server, stop_server

#: A page with a worker, as MLflow has one.
PAGE = """
import http.server, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words):
        pass

http.server.HTTPServer(("127.0.0.1", int(sys.argv[3])), Page).serve_forever()
"""


@pytest.fixture
def stranger():
    """A process that is no page."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "mlflow", "--port", "5000"])
    yield process
    assert process.poll() is None, "a stranger was stopped"
    process.kill()
    process.wait()


@pytest.fixture
def pages(monkeypatch):
    """Start small pages in place of MLflow's, and return their keys."""
    keys: list[str] = []
    started: list[subprocess.Popen] = []

    def launch(uri, port, key, log, artifacts):
        keys.append(key)
        command = [sys.executable, "-c", PAGE, "mlflow", "--port", str(port)]
        process = subprocess.Popen(command, env=os.environ | {MARK: key}, start_new_session=True)
        started.append(process)
        return process

    monkeypatch.setattr(ui_server, "launch", launch)
    monkeypatch.setattr(ui_server, "PAUSE", 0.02)
    yield keys
    for key in keys:
        ui_processes.stop_page(key)
    for process in started:
        process.wait()


def members(key):
    return list(ui_processes._members(key))


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("port", [5000, "elsewhere"])
def test_forged_files_neither_stop_a_process_nor_open_an_address(port, tmp_path, stranger, monkeypatch):
    monkeypatch.setattr(ui_server, "_answers", lambda address: pytest.fail(f"{address} was opened"))
    uri, file = sqlite_uri(tmp_path / "mlflow.db"), tmp_path / ".mlflow-ui.json"
    address = "http://127.0.0.1:5000" if port == 5000 else "http://evil.example/x"
    facts = {"address": address, "process": stranger.pid}
    for more in ({}, {"key": ""}, {"key": "0" * 32}, {"key": None}, {"key": ["x"]}):
        file.write_text(json.dumps(facts | more))
        assert find_server(uri) is None and stop_server(uri) is False


@pytest.mark.parametrize(
    "content", ["", "[]", "null", "{", "[" * 5000, '{"address": 3, "process": "x", "key": 1}', "x" * 20_000, "\udcff"]
)
def test_damaged_files(content, tmp_path):
    (tmp_path / ".mlflow-ui.json").write_text(content, errors="surrogateescape")
    assert find_server(sqlite_uri(tmp_path / "mlflow.db")) is None
    assert stop_server(sqlite_uri(tmp_path / "mlflow.db")) is False


@pytest.mark.parametrize("process", [0, 1, -1, 2**31, 2**80, True, "own"])
def test_other_processes(process, tmp_path):
    number = os.getpid() if process == "own" else process
    facts = {"address": "http://127.0.0.1:5000", "process": number, "key": "0" * 32}
    (tmp_path / ".mlflow-ui.json").write_text(json.dumps(facts))
    assert find_server(sqlite_uri(tmp_path / "mlflow.db")) is None
    assert stop_server(sqlite_uri(tmp_path / "mlflow.db")) is False


def test_pipes_and_links_in_place_of_files(tmp_path):
    uri = sqlite_uri(tmp_path / "mlflow.db")
    os.mkfifo(tmp_path / ".mlflow-ui.json")
    assert find_server(uri) is None
    (tmp_path / "precious").write_text("content")
    (tmp_path / ui_server.LOG).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match=ui_server.LOG):
        start_server(uri)
    assert (tmp_path / "precious").read_text() == "content"


def test_a_page_is_started_once_and_stopped_with_its_workers(tmp_path, pages):
    uri = sqlite_uri(tmp_path / "mlflow.db")
    found = []
    threads = [threading.Thread(target=lambda: found.append(start_server(uri))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pages) == 1 and {server.address for server in found} == {find_server(uri).address}
    assert sorted(server.own for server in found) == [False, True]
    wait_for(lambda: len(members(pages[0])) == 2)
    # The page of a project is not that of its copy.
    shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}-copy")
    copy = sqlite_uri(tmp_path.parent / f"{tmp_path.name}-copy" / "mlflow.db")
    assert find_server(copy) is None and stop_server(copy) is False
    assert stop_server(uri) and not members(pages[0]) and not (tmp_path / ".mlflow-ui.json").exists()
    assert stop_server(uri) is False


def test_workers_of_a_page_that_was_killed_are_stopped(tmp_path, pages):
    uri = sqlite_uri(tmp_path / "mlflow.db")
    server = start_server(uri)
    wait_for(lambda: len(members(pages[0])) == 2)
    psutil.Process(server.process).kill()
    wait_for(lambda: len(members(pages[0])) == 1)
    assert find_server(uri) is None
    assert stop_server(uri) and not members(pages[0])


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, *(pytest.param(each, marks=pytest.mark.slow) for each in (signal.SIGINT, signal.SIGHUP))]
)
def test_signals_end_the_page(number, uri, cli, pages, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr("registry.tracking.dashboard_view.store_view", lambda *arguments: "view")
    monkeypatch.setattr("zoo.commands.dashboard.PAUSE", 0.02)
    opened = []

    def browse(address):
        opened.append(address)
        wait_for(lambda: len(members(pages[0])) == 2)
        os.kill(os.getpid(), number)

    monkeypatch.setattr("webbrowser.open", browse)
    code, out, err = cli("dashboard")
    assert code == (0 if number == signal.SIGINT else 128 + number), err
    assert opened[0].startswith("http://127.0.0.1:") and opened[0] in out and not members(pages[0])


def test_a_signal_while_the_page_starts(uri, cli, pages, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr("registry.tracking.dashboard_view.store_view", lambda *arguments: "view")
    monkeypatch.setattr(ui_server, "_answers", lambda address: os.kill(os.getpid(), signal.SIGTERM))
    assert cli("dashboard", "--print-url")[0] == 130 and not members(pages[0])


def test_how_it_is_started(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: calls.append((command, options)))
    monkeypatch.setenv("MLFLOW_STATIC_PREFIX", "/elsewhere")
    monkeypatch.chdir(tmp_path)
    ui_processes.launch("postgresql://me:secret@host/db", 5001, "key", tmp_path / "log", "file:///a")
    ((command, options),) = calls
    assert ("-P" in command) == (sys.version_info >= (3, 11)) and options["env"]["PYTHONSAFEPATH"] == "1"
    assert options["cwd"] != os.getcwd() and options["cwd"] in sys.path
    assert "secret" not in " ".join(command) and "MLFLOW_STATIC_PREFIX" not in options["env"]


def test_ports(tmp_path, cli):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        with pytest.raises(ServerError, match="is in use; choose another one with --port"):
            start_server(sqlite_uri(tmp_path / "mlflow.db"), busy.getsockname()[1])
    for port in ("0", "70000", "-1"):
        assert cli("dashboard", "--port", port)[0] == 2
