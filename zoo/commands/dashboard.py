"""``zoo dashboard``: MLflow's page with a comparison of entries that is already set up."""

from __future__ import annotations

import sys
import time
import webbrowser
from collections.abc import Sequence

__all__ = ["dashboard_command"]


def dashboard_command(
    names: Sequence[str], *, print_url: bool = False, port: int | None = None, stop: bool = False
) -> None:
    """Store the view, start or find the page, and open it.

    Args:
        names: of the entries; none for all that were tracked.
        print_url: print the address and leave the page running.
        port: of a page that is started; by default 5000 if it is free.
        stop: end the page that was left running.

    Raises:
        LookupError: an entry is unknown or not tracked.
        StoreError: the store cannot be used.
        ServerError: the page does not start.
    """
    from registry.catalogue import get
    from registry.tracking.store import connect, experiment_id, shown_uri, store_errors, tracking_uri
    from registry.tracking.ui_server import find_server, start_server, stop_server

    uri = tracking_uri()
    if stop:
        print("stopped" if stop_server(uri) else "no page of this store is running")
        return
    entries = [get(name).name for name in names]
    from registry.tracking.dashboard_view import address, store_view

    with store_errors(uri):
        client = connect(uri)
        experiment = experiment_id(client)
        key = store_view(client, experiment, entries)
    server = find_server(uri)
    started = server is None
    if server is None:
        print("starting MLflow's page, which takes a few seconds...", file=sys.stderr)
        server = start_server(uri, port)
    place = address(server.address, experiment, key)
    print(shown_uri(place), flush=True)
    if print_url:
        if server.process is not None:
            print("it goes on running; to end it: zoo dashboard --stop", file=sys.stderr)
        return
    webbrowser.open(place)
    if started:
        _wait(uri)


def _wait(uri: str) -> None:
    """Stay until Ctrl-C, then end the page."""
    from registry.tracking.ui_server import find_server, stop_server

    print("press Ctrl-C to end", file=sys.stderr)
    try:
        while find_server(uri) is not None:
            time.sleep(2)
    except KeyboardInterrupt:
        pass
    finally:
        stop_server(uri)
