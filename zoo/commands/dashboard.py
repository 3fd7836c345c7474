"""``zoo dashboard``: MLflow's page with a comparison of entries that is already set up."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
import webbrowser
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.commands.options import ExperimentName
from zoo.terminal.completion import complete_entry, complete_study

if TYPE_CHECKING:
    from registry.tracking.ui_server import Server

#: Seconds between looks at received signals, and how many of them there are between looks at the page.
PAUSE, LOOKS = 0.2, 10


def dashboard(
    entries: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ENTRY...", help="Names of tracked entries. Default: all.", autocompletion=complete_entry
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            "--study", metavar="STUDY", help="Study whose arms and seeds to show.", autocompletion=complete_study
        ),
    ] = None,
    print_url: Annotated[bool, typer.Option("--print-url", help="Print the URL and leave the page running.")] = False,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of a new page. Default: 5000, or a free one.")
    ] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Stop a page that was left running.")] = False,
    experiment: ExperimentName = None,
) -> int | None:
    """Open MLflow's page with a comparison of entries, or of the arms of a study, that is already set up."""
    from registry.catalogue import get
    from registry.study_report.dashboard import store_study_view
    from registry.tracking.dashboard_view import address, store_view
    from registry.tracking.store import connect, shown_uri, store_errors, tracking_uri
    from registry.tracking.stores.experiments import chosen_experiment, experiment_id
    from registry.tracking.ui_server import find_server, start_server, stop_server

    uri = tracking_uri()
    if stop:
        print("stopped" if stop_server(uri) else "no page of this store is running")
        return None
    if study is not None and entries:
        raise ValueError("--study takes no entries")
    arms, names = (None, [get(name).name for name in entries or ()]) if study is None else _of_study(study)

    with store_errors(uri):
        client = connect(uri, lambda text: print(f"warning: {text}", file=sys.stderr))
        identity = experiment_id(client, chosen_experiment(experiment))
        view = store_view(client, identity, names) if arms is None else store_study_view(client, identity, arms)
    with _signals() as received:
        server = find_server(uri)
        if server is None:
            print("starting MLflow's page, which takes a few seconds...", file=sys.stderr)
            server = start_server(uri, port, stop=lambda: bool(received))
        elif port is not None:
            print("the page of this store is running already; --port is for a new one", file=sys.stderr)
        print(address(shown_uri(server.address), identity, view), flush=True)
        if not print_url:
            try:
                webbrowser.open(address(server.address, identity, view))
                if server.own:
                    _wait(server, received)
            finally:
                if server.own:
                    stop_server(uri, server)
        elif server.process is not None:
            print("the page keeps running; to stop it: zoo dashboard --stop", file=sys.stderr)
    return 128 + received[0] if received and received[0] != signal.SIGINT else None


def _of_study(name: str) -> tuple[str | None, list[str]]:
    """Return the name of a study of arms and no entries, or None and the names of the entries of another study."""
    from registry.catalogue import search_path
    from specs.arms import load_arm_study
    from specs.library import find_file
    from specs.study import has_arms, load_study_and_graphs
    from specs.syntax.yaml_tree import parse

    if has_arms(parse(find_file("study", name))):
        return load_arm_study(name, search=search_path()).study.name, []
    _, graphs = load_study_and_graphs(name, search=search_path())
    return None, [graph.name for graph in graphs]


def _wait(server: Server, received: list[int]) -> None:
    """Wait for a signal, or for the end of the page."""
    print("press Ctrl-C to stop", file=sys.stderr)
    looks = 0
    while not received:
        time.sleep(PAUSE)
        looks += 1
        if looks % LOOKS == 0 and not server.runs:
            print("the page has ended", file=sys.stderr)
            return


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Yield a list that receives signals to end, so that they end the page too. Ignored ones stay ignored, as by nohup.

    An exception raised by a handler could be lost, or come before the page is known.
    """
    received: list[int] = []
    previous = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is None or signal.getsignal(number) == signal.SIG_IGN:
            continue
        with contextlib.suppress(ValueError):  # not in the main thread
            previous[number] = signal.signal(number, lambda number, frame: received.append(number))
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
