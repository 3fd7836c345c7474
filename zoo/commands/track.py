"""``zoo track``: record entries in MLflow, with their costs, measured distances and artifacts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.commands.options import ExperimentName, Quiet
from zoo.terminal.completion import complete_entry, complete_study

if TYPE_CHECKING:
    from registry.tracking.entry_runs import RecordedRun


def track(
    entries: Annotated[
        list[str] | None,
        typer.Argument(metavar="ENTRY...", help="Names of entries. Default: all.", autocompletion=complete_entry),
    ] = None,
    latency: Annotated[bool, typer.Option(help="Time a forward pass of small entries.")] = True,
    send: Annotated[
        Path | None, typer.Option("--send", metavar="RUN", help="Send the unsent records of a training run's folder.")
    ] = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Correct the artifact paths of a store that was moved or copied."),
    ] = False,
    study: Annotated[
        str | None,
        typer.Option(
            "--study",
            metavar="STUDY",
            help="Study of arms whose results to record, where MLflow has no run of their training.",
            autocompletion=complete_study,
        ),
    ] = None,
    experiment: ExperimentName = None,
    quiet: Quiet = False,
) -> None:
    """Record entries in MLflow, each once: costs, measured distances, spec, card and diagram."""
    if study is not None and (entries or send is not None or repair):
        raise ValueError("--study takes no entries, no --send and no --repair")
    if send is not None and entries:
        raise ValueError("--send takes the folder of a run and no entries")
    if repair and (entries or send is not None):
        raise ValueError("--repair takes no entries and no --send")
    if study is not None:
        print(_record_study(study, experiment))
        return
    if repair:
        print(_repair())
        return
    if send is not None:
        print(_send(send, experiment))
        return
    done = track_entries(entries or (), latency=latency, quiet=quiet, experiment=experiment)
    created, added = sum(each.created for each in done), sum(each.added for each in done)
    print(f"{len(done)} entries: {created} new runs, {added} new values")


def track_entries(
    names: Sequence[str], *, latency: bool = True, quiet: bool = False, experiment: str | None = None
) -> list[RecordedRun]:
    """Record entries, each once per hash; return what was done.

    Args:
        names: Names of entries, or paths; by default all entries.
        latency: Time a forward pass of small entries that have no time yet.
        quiet: Show no progress.
        experiment: Name of the experiment. Default: that of MLflow's variables, or ``matryoshka-zoo``.

    Raises:
        LookupError, SpecError: An entry does not exist or is wrong.
        StoreError: The store cannot be used.
    """
    from registry.catalogue import get, list_names, readable
    from registry.tracking.entry_runs import record_entry
    from registry.tracking.latency import MOST_FLOPS, forward_milliseconds
    from registry.tracking.store import connect, store_errors, tracking_uri
    from zoo.terminal.progress import phase_bars

    entries = [get(name) for name in names] if names else list(readable(list_names()))
    done = []
    uri = tracking_uri()
    with store_errors(uri):
        client = connect(uri, _warn)
    with store_errors(uri), phase_bars(quiet) as progress:
        for number, entry in enumerate(entries, 1):
            timed = latency and entry.card().flops < MOST_FLOPS
            measure = partial(forward_milliseconds, entry) if timed else None
            done.append(record_entry(client, entry, measure, experiment))
            progress("tracking", number, len(entries))
    for each in done:
        if each.warning is not None:
            _warn(each.warning)
    return done


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def _repair() -> str:
    """Correct the paths of artifacts in the store; return a sentence about it.

    Raises:
        StoreError: The store is not a SQLite file, or cannot be written.
    """
    from registry.tracking.store import store_errors, tracking_uri
    from registry.tracking.stores.artifact_places import repair_store

    uri = tracking_uri()
    with store_errors(uri):
        done = repair_store(uri)
    if not done.changed:
        return f"nothing to repair in {done.path}"
    places = ", ".join(map(str, done.places))
    runs, experiments = done.changed.get("runs", 0), done.changed.get("experiments", 0)
    return f"corrected the artifacts of {runs} runs and {experiments} experiments: from {places} to {done.path.parent}"


def _record_study(name: str, experiment: str | None) -> str:
    """Record the results of a study of arms; return a sentence about it.

    Raises:
        ValueError: It compares entries, has no results, or a file is not a result.
        StoreError: The store cannot be used.
    """
    from registry.catalogue import search_path
    from registry.study_runs.results import FOLDER, read_results
    from specs.arms import load_arm_study
    from specs.library import find_file
    from specs.study import has_arms
    from specs.syntax.yaml_tree import parse
    from zoo.commands.studying.run import record_results

    if not has_arms(parse(find_file("study", name))):
        raise ValueError(f"{name} compares entries: track these, with 'zoo track ENTRY...'")
    study = load_arm_study(name, search=search_path()).study
    folders = [FOLDER / study.name, FOLDER / f"{study.name}.exploratory"]
    results = [each for folder in folders for each in read_results(folder) if each.study == study.name]
    if not results:
        raise ValueError(f"{study.name} has no results in {folders[0]}; run 'zoo study {name}' first")
    return f"{len(results)} results: {record_results(study, results, experiment)} new runs"


def _send(folder: Path, experiment: str | None) -> str:
    """Send the records that the store of a training run does not have yet; return a sentence about it.

    Raises:
        TrackingError: There is nothing to send, or the store did not accept it.
    """
    from registry.tracking.resend import TrackingError, send_spool

    sent = send_spool(folder, experiment=experiment)
    if sent.left:
        raise TrackingError(
            f"{sent.left} records of {folder} could not be sent to {sent.uri}: {sent.failure}; try again"
        )
    refused = f"; {sent.refused} were refused: {'; '.join(sent.warnings)}" if sent.refused else ""
    return f"sent {sent.records} records to {sent.uri}{refused}"
