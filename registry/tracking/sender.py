"""Sends a spool to MLflow in order and in batches, with retries, so that every record arrives exactly once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from builders.files import write_text
from registry.tracking.metric_names import MetricNames
from registry.tracking.spool import Line, SentState, Spool
from registry.tracking.store import connect, entry_run, explained, is_refusal, shown_uri, stored_uri
from registry.tracking.stores.artifact_places import check_artifacts
from registry.tracking.stores.experiments import Experiment, experiment_id

__all__ = ["RUN_KEY", "RunDeletedError", "Sender", "open_sender"]

#: Tag of a run in the store: the key of the run in the spool.
RUN_KEY = "zoo.run_key"
PARENT = "mlflow.parentRunId"
#: Largest batch; MLflow accepts 100 params, 100 tags and 1,000 items in all per call.
MAX_METRICS, MAX_PARAMS, MAX_TAGS = 800, 100, 100
#: Attempts for a line that fails while the store works.
TRIES = 3


class RunDeletedError(Exception):
    """The run was deleted in the store while its spool was being sent."""


@dataclasses.dataclass
class _Batch:
    """Lines that are sent in one call."""

    lines: list[Line] = dataclasses.field(default_factory=list)
    metrics: list[tuple[str, float, int, int]] = dataclasses.field(default_factory=list)
    params: dict[str, str] = dataclasses.field(default_factory=dict)
    tags: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def alone(self) -> bool:
        """Whether the batch has one line of a kind that cannot be batched."""
        return not (self.metrics or self.params or self.tags)

    def add(self, line: Line) -> bool:
        """Add a line unless it needs a batch of its own; return whether it was added. The first line always is."""
        record, kind = line.record, line.record.get("kind")
        metrics = _metrics(record) if kind == "metrics" else []
        params = record["values"] if kind == "params" else {}
        tags = record["values"] if kind == "tags" else _non_finite_tags(record) if kind == "non_finite" else {}
        fits = (
            len(self.metrics) + len(metrics) <= MAX_METRICS
            and len(self.params) + len(params) <= MAX_PARAMS
            and len({**self.tags, **tags}) <= MAX_TAGS
        )
        # A param that occurs twice is sent twice: MLflow decides, because params cannot change.
        repeated = set(params) & set(self.params)
        if self.lines and (self.alone or repeated or not fits or not (metrics or params or tags)):
            return False
        self.lines.append(line)
        self.metrics += metrics
        self.params |= params
        self.tags |= tags
        return True


class Sender:
    """Sends the records that a store does not have yet, and saves how far it came.

    A call without an answer is repeated. That is harmless: MLflow's stores keep one point per key, step, timestamp and
    value; params and tags are set to the same values; a run is looked up by its key before it is created.

    Args:
        spool: Spool to send.
        client: MLflow client of the store.
        uri: Address of the store.
        warn: Function that is called with a message for each record that the store rejects.
        experiment: Experiment of a run that the store does not have. Default: the one in its record.
        only_inside: Whether to send no files from outside the run's folder.

    Attributes:
        records: Number of records sent.
        state: What the store has of the spool.
    """

    def __init__(
        self,
        spool: Spool,
        client: Any,
        uri: str,
        warn: Callable[[str], None],
        experiment: Experiment | None = None,
        only_inside: bool = False,
    ) -> None:
        self.spool, self.client, self.uri, self.warn = spool, client, uri, warn
        self.experiment, self.only_inside = experiment, only_inside
        self.store = stored_uri(uri)
        self.records = 0
        self._tries = 0
        self._names: MetricNames | None = None
        self.state = self._saved_state()

    def send_next(self) -> bool:
        """Send the next batch; return False if there is nothing to send.

        Raises:
            RunDeletedError: The run was deleted in the store.
            Exception: Any exception of MLflow while the store is unavailable; call again later.
        """
        batch = _Batch()
        for line in self.spool.lines(self.state.offset):
            if not batch.add(line):
                break
        if not batch.lines:
            return False
        self._deliver(batch)
        self._tries = 0
        self.records += len(batch.lines)
        self._acknowledge(dataclasses.replace(self.state, offset=batch.lines[-1].end))
        return True

    def send_rejected(self) -> None:
        """Send the records again that the store rejected before."""
        for start in self.state.refused:
            line = next(self.spool.lines(start), None)
            if line is None or line.start != start:
                continue
            try:
                self._send(_batch_of(line))
            except Exception as error:
                if not (is_refusal(error) or isinstance(error, OSError)):
                    raise
            else:
                self.records += 1
                remaining = tuple(other for other in self.state.refused if other != start)
                self._acknowledge(dataclasses.replace(self.state, refused=remaining))

    def _saved_state(self) -> SentState:
        """Return how far the store is; from the start if the run no longer exists there."""
        # Version 0.1 wrote the name of the user too.
        state = self.spool.sent(self.store) or self.spool.sent(shown_uri(self.uri))
        return state if state and state.run_id and self._active(state.run_id) else SentState("")

    def _active(self, run_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            return bool(self.client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise

    def _deliver(self, batch: _Batch) -> None:
        """Send a batch; if the store rejects it, send its lines one by one and note those that are rejected.

        Raises:
            Exception: The store is unavailable.
        """
        first = batch.lines[0]
        try:
            self._send(batch)
        except Exception as error:
            if not self._is_rejected(first.record, error):
                raise
            if len(batch.lines) > 1:
                for line in batch.lines:
                    self._deliver(_batch_of(line))
                return
            self.warn(f"MLflow at {shown_uri(self.uri)} rejects {_title(first.record)} ({explained(error)})")
            self.state = dataclasses.replace(self.state, refused=(*self.state.refused, first.start))

    def _is_rejected(self, record: Mapping[str, Any], error: Exception) -> bool:
        """Return whether an error is due to the record, so that the records after it can be sent.

        Raises:
            RunDeletedError: The error is due to the run, which was deleted.
        """
        kind = record.get("kind")
        if kind == "run":
            return False
        if self.state.run_id and not self._active(self.state.run_id):
            raise RunDeletedError(self.state.run_id) from error
        if is_refusal(error) or isinstance(error, FileNotFoundError):
            return True
        # MLflow answers BAD_REQUEST for problems of its database too, and artifacts may be stored elsewhere.
        if kind in ("artifact", "text") or getattr(error, "error_code", None) == "BAD_REQUEST":
            self._tries += 1
        return self._tries >= TRIES

    def _acknowledge(self, state: SentState) -> None:
        self.state = state
        self.spool.acknowledge(self.store, state)

    def _send(self, batch: _Batch) -> None:
        from mlflow.entities import Metric, Param, RunTag

        if batch.alone:
            self._send_other(batch.lines[0].record)
            return
        self.client.log_batch(
            self.state.run_id,
            metrics=[Metric(self._name(name), value, when, step) for name, value, when, step in batch.metrics],
            params=[Param(key, value) for key, value in batch.params.items()],
            tags=[RunTag(key, value) for key, value in batch.tags.items()],
            synchronous=True,
        )

    def _name(self, name: str) -> str:
        """Return the name of a metric in the store."""
        if self._names is None:
            run = self.client.get_run(self.state.run_id)
            self._names = MetricNames(self.client, run.info.experiment_id)
        return self._names.name(name)

    def _send_other(self, record: Mapping[str, Any]) -> None:
        run_id, kind = self.state.run_id, record.get("kind")
        if kind == "run":
            self._open_run(record)
        elif kind == "artifact":
            path = self.spool.run_folder / record["path"]
            if not path.is_file():
                raise FileNotFoundError(f"{path} does not exist any more")
            self._check_place(path)
            check_artifacts(self.client, self.client.get_run(run_id))
            self.client.log_artifact(run_id, str(path), record["folder"] or None)
        elif kind == "text":
            check_artifacts(self.client, self.client.get_run(run_id))
            self.client.log_text(run_id, record["text"], record["name"])
        elif kind == "status" and record["status"] == "RUNNING":
            self.client.update_run(run_id, "RUNNING")
        elif kind == "status":
            self.client.set_terminated(run_id, record["status"], record["time"])
            self._delete_duplicates(record["key"])

    def _check_place(self, path: Path) -> None:
        """Refuse a file outside the run's folder, unless this process recorded it: a spool of others could name any."""
        folder = self.spool.run_folder.resolve()
        if self.only_inside and not path.resolve().is_relative_to(folder):
            raise FileNotFoundError(f"{path} is outside the run's folder; log it with MLflow itself")

    def _open_run(self, record: Mapping[str, Any]) -> None:
        """Find or create the run; its parent is the recorded one or the run of the entry."""
        experiment = experiment_id(self.client, self.experiment or Experiment(**record.get("experiment", {})))
        known = record.get("tags", {})
        entry, identity = known.get("entry", ""), record.get("entry_hash", "")
        parent = record.get("parent") or entry_run(self.client, entry, identity, experiment)
        found = next(self._runs_of(record["key"], experiment), None)
        if found is None:
            tags = {**known, RUN_KEY: record["key"], **({PARENT: parent} if parent else {})}
            found = self.client.create_run(experiment, record.get("time"), tags, run_name=record.get("name"))
        elif parent and PARENT not in found.data.tags:
            self.client.set_tag(found.info.run_id, PARENT, parent)
        self.state = SentState(str(found.info.run_id), self.state.offset)
        path = self.spool.run_folder / "mlflow.json"
        write_text(path, json.dumps({"uri": self.store, "run_id": self.state.run_id}) + "\n")

    def _runs_of(self, key: str, experiment: str) -> Iterator[Any]:
        """Yield the runs with a key, oldest first. There are several if a call that creates one had no answer."""
        order = ["attributes.start_time ASC", "attributes.run_id ASC"]
        yield from self.client.search_runs([experiment], f"tags.`{RUN_KEY}` = '{key}'", order_by=order)

    def _delete_duplicates(self, key: str) -> None:
        experiment = self.client.get_run(self.state.run_id).info.experiment_id
        for run in self._runs_of(key, experiment):
            if run.info.run_id != self.state.run_id and not run.data.metrics:
                self.client.delete_run(run.info.run_id)


def open_sender(
    spool: Spool,
    uri: str,
    warn: Callable[[str], None],
    experiment: Experiment | None = None,
    *,
    only_inside: bool = False,
) -> Sender:
    """Connect to a store, send it again what it rejected before, and return the sender of a spool."""
    sender = Sender(spool, connect(uri, warn), uri, warn, experiment, only_inside)
    sender.send_rejected()
    return sender


def _batch_of(line: Line) -> _Batch:
    batch = _Batch()
    batch.add(line)
    return batch


def _metrics(record: Mapping[str, Any]) -> list[tuple[str, float, int, int]]:
    return [(name, value, record["time"], record["step"]) for name, value in record["values"].items()]


def _non_finite_tags(record: Mapping[str, Any]) -> dict[str, str]:
    return {
        f"non_finite.{name}": f"{count}, first at step {first}" for name, (count, first, _) in record["counts"].items()
    }


def _title(record: Mapping[str, Any]) -> str:
    kind = record.get("kind")
    if kind in ("artifact", "text"):
        return f"the file {Path(record['path' if kind == 'artifact' else 'name']).name}"
    return f"{kind} {', '.join(list(record.get('values', {}))[:3])}".strip()
