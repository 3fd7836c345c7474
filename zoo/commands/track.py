"""``zoo track``: entries in MLflow, with their costs, measured distances and artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry.entry import Entry
    from registry.tracking.entry_runs import RecordedRun

__all__ = ["forward_milliseconds", "send_command", "track_command"]

#: Entries of more FLOPs are not timed: building them takes longer than a user would wait.
MOST_FLOPS = 5e9
ROUNDS = 5


def track_command(names: Sequence[str], *, latency: bool = True, quiet: bool = False) -> list[RecordedRun]:
    """Record entries, each once for its hash; return what was done.

    Args:
        names: of the entries, or paths; none for all.
        latency: time a forward pass of small entries that have no time yet.
        quiet: show no progress.

    Raises:
        LookupError, SpecError: an entry is not there or wrong.
        StoreError: the store cannot be used.
    """
    from registry.catalogue import get, list_names, readable
    from registry.tracking.entry_runs import record_entry
    from registry.tracking.store import connect, store_errors, tracking_uri
    from zoo.terminal.progress import PhaseBar

    entries = [get(name) for name in names] if names else list(readable(list_names()))
    done = []
    uri = tracking_uri()
    with store_errors(uri):
        client = connect(uri)
    with store_errors(uri), PhaseBar(quiet) as progress:
        for number, entry in enumerate(entries):
            timed = latency and entry.card().flops < MOST_FLOPS
            done.append(record_entry(client, entry, partial(forward_milliseconds, entry) if timed else None))
            progress("tracking", number + 1, len(entries))
    return done


def send_command(folder: Path) -> str:
    """Send what a training run has in its spool and the store has not; say what was done.

    Raises:
        TrackingError: there is nothing to send, or the store did not take it.
    """
    from registry.tracking.resend import TrackingError, send_spool

    sent = send_spool(folder)
    if sent.left:
        raise TrackingError(f"{sent.left} records of {folder} are still not at {sent.uri}: {sent.failure}; try again")
    refused = f"; {sent.refused} were refused: {'; '.join(sent.warnings)}" if sent.refused else ""
    return f"sent {sent.records} records to {sent.uri}{refused}"


def forward_milliseconds(entry: Entry) -> float:
    """Median time of one forward pass of one sample on this machine's CPU, weights and inputs random."""
    import statistics
    import time

    import torch

    model = entry.build().eval()
    z = [torch.zeros(1, level.channels, level.resolution, level.resolution) for level in entry.architecture.levels]
    times = []
    with torch.inference_mode():
        context = model.encode()
        for _ in range(ROUNDS + 1):
            started = time.perf_counter()
            model(z, torch.zeros(1), context)
            times.append(1000 * (time.perf_counter() - started))
    # The first pass also warms up.
    return statistics.median(times[1:])
