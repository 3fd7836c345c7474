"""``zoo dashboard``: MLflow's page with a comparison of entries that is already set up."""

from __future__ import annotations

import sys
import time
import webbrowser
from typing import Annotated

import typer

from zoo.commands.options import ExperimentName
from zoo.terminal.completion import complete_entry


def dashboard(
    entries: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ENTRY...", help="Names of tracked entries. Default: all.", autocompletion=complete_entry
        ),
    ] = None,
    print_url: Annotated[bool, typer.Option("--print-url", help="Print the URL and leave the page running.")] = False,
    port: Annotated[int | None, typer.Option(help="Port of a new page. Default: 5000, or a free one.")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Stop a page that was left running.")] = False,
    experiment: ExperimentName = None,
) -> None:
    """Open MLflow's page with a comparison of entries that is already set up."""
    from registry.catalogue import get
    from registry.tracking.dashboard_view import address, store_view
    from registry.tracking.experiments import chosen_experiment, experiment_id
    from registry.tracking.store import connect, shown_uri, store_errors, tracking_uri
    from registry.tracking.ui_server import find_server, start_server, stop_server

    uri = tracking_uri()
    if stop:
        print("stopped" if stop_server(uri) else "no page of this store is running")
        return
    names = [get(name).name for name in entries or ()]

    with store_errors(uri):
        client = connect(uri, lambda text: print(f"warning: {text}", file=sys.stderr))
        identity = experiment_id(client, chosen_experiment(experiment))
        key = store_view(client, identity, names)
    server = find_server(uri)
    started = server is None
    if server is None:
        print("starting MLflow's page, which takes a few seconds...", file=sys.stderr)
        server = start_server(uri, port)
    place = address(server.address, identity, key)
    print(shown_uri(place), flush=True)
    if print_url:
        if server.process is not None:
            print("the page keeps running; to stop it: zoo dashboard --stop", file=sys.stderr)
        return
    webbrowser.open(place)
    if started:
        _wait(uri)


def _wait(uri: str) -> None:
    """Wait for Ctrl-C, then stop the page."""
    from registry.tracking.ui_server import find_server, stop_server

    print("press Ctrl-C to stop", file=sys.stderr)
    try:
        while find_server(uri) is not None:
            time.sleep(2)
    except KeyboardInterrupt:
        pass
    finally:
        stop_server(uri)
