"""Sending a spool to MLflow: in batches, in order, again and again, so that all of it arrives once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from builders.files import write_text
from registry.tracking.metric_names import Columns
from registry.tracking.spool import Line, SentState, Spool
from registry.tracking.store import entry_run, experiment_id, explained, is_refusal, shown_uri

__all__ = ["RUN_KEY", "RunDeletedError", "Sender"]

#: The tag that says which run of a spool a run of the store is.
RUN_KEY = "zoo.run_key"
PARENT = "mlflow.parentRunId"
#: MLflow takes no more at once.
MAX_METRICS, MAX_PARAMS, MAX_TAGS, MAX_ALL = 800, 100, 100, 1000
#: So often is a line tried that fails while the store is otherwise well.
TRIES = 3


class RunDeletedError(Exception):
    """The run was deleted in the store while it was being sent."""


@dataclasses.dataclass
class _Batch:
    """Lines that go to the store in one call."""

    lines: list[Line] = dataclasses.field(default_factory=list)
    metrics: list[tuple[str, float, int, int]] = dataclasses.field(default_factory=list)
    params: dict[str, str] = dataclasses.field(default_factory=dict)
    tags: dict[str, str] = dataclasses.field(default_factory=dict)

    def add(self, line: Line) -> bool:
        """Take a line, if it is of the kind that can be batched and fits."""
        record, kind = line.record, line.record.get("kind")
        metrics = _metrics(record) if kind == "metrics" else []
        params = record["values"] if kind == "params" else {}
        tags = record["values"] if kind == "tags" else _non_finite_tags(record) if kind == "non_finite" else {}
        if not (metrics or params or tags):
            return False
        if set(params) & set(self.params):  # params cannot change: the store is to decide
            return False
        sizes = len(self.metrics) + len(metrics), len(self.params) + len(params), len({**self.tags, **tags})
        if self.lines and (
            sizes[0] > MAX_METRICS or sizes[1] > MAX_PARAMS or sizes[2] > MAX_TAGS or sum(sizes) > MAX_ALL
        ):
            return False
        self.lines.append(line)
        self.metrics += metrics
        self.params |= params
        self.tags |= tags
        return True


class Sender:
    """Sends what a store does not have yet, and writes down what it has.

    A call that failed in doubt is made again. That is harmless: MLflow's stores keep one point of the same key, step,
    timestamp and value; params and tags are set to what they are; a run is looked for by its key before it is made.

    Args:
        spool: what to send.
        client: of MLflow.
        uri: of the store.
        warn: told of what the store does not take.
    """

    def __init__(self, spool: Spool, client: Any, uri: str, warn: Callable[[str], None]) -> None:
        self.spool, self.client, self.uri, self.warn = spool, client, uri, warn
        self.store = shown_uri(uri)
        self.records = 0
        self._tries = 0
        self._columns: Columns | None = None
        self.state = self._known_state()

    def send_next(self) -> bool:
        """Send the next batch; False if there is nothing to send.

        Raises:
            RunDeletedError: somebody deleted the run.
            Exception: whatever MLflow raises when a store is away; to be called again later.
        """
        lines = self.spool.lines(self.state.offset)
        first = next(lines, None)
        if first is None:
            return False
        batch = _Batch()
        if batch.add(first):
            for line in lines:
                if not batch.add(line):
                    break
        else:
            batch.lines.append(first)
        try:
            self._send(batch)
        except Exception as error:
            if not self._set_aside(error, first.record):
                raise
            if len(batch.lines) > 1:
                self._send_singly(batch.lines)
            else:
                self._refuse(first, error)
        self._tries = 0
        self.records += len(batch.lines)
        self._acknowledge(dataclasses.replace(self.state, offset=batch.lines[-1].end))
        return True

    def send_refused(self) -> None:
        """Try once more what the store did not take before."""
        for start in self.state.refused:
            line = next(self.spool.lines(start), None)
            if line is None or line.start != start:
                continue
            try:
                self._send_line(line)
            except Exception as error:
                if not (is_refusal(error) or isinstance(error, OSError)):
                    raise
            else:
                self.records += 1
                kept = tuple(other for other in self.state.refused if other != start)
                self._acknowledge(dataclasses.replace(self.state, refused=kept))

    def _known_state(self) -> SentState:
        """How far the store is; from the start if the run is no longer there."""
        state = self.spool.sent(self.store)
        if state is None or not state.run_id or not self._active(state.run_id):
            return SentState("")
        return state

    def _active(self, run_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            return bool(self.client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise

    def _set_aside(self, error: Exception, record: Mapping[str, Any]) -> bool:
        """Whether to go on without a record: it, and not the store, is at fault.

        Raises:
            Exception: the store is away.
        """
        kind = record.get("kind")
        if kind == "run":
            return False
        if self.state.run_id and not self._active(self.state.run_id):
            raise RunDeletedError(self.state.run_id) from error
        if is_refusal(error) or isinstance(error, FileNotFoundError):
            return True
        # MLflow answers BAD_REQUEST for much trouble of its database, and files may have a store of their own.
        if kind in ("artifact", "text") or getattr(error, "error_code", None) == "BAD_REQUEST":
            self._tries += 1
        return self._tries >= TRIES

    def _send_singly(self, lines: list[Line]) -> None:
        for line in lines:
            try:
                self._send_line(line)
            except Exception as error:
                if not self._set_aside(error, line.record):
                    raise
                self._refuse(line, error)

    def _send_line(self, line: Line) -> None:
        batch = _Batch()
        if not batch.add(line):
            batch.lines.append(line)
        self._send(batch)

    def _refuse(self, line: Line, error: Exception) -> None:
        self.warn(f"MLflow at {self.store} does not take {_what(line.record)} ({explained(error)})")
        self.state = dataclasses.replace(self.state, refused=(*self.state.refused, line.start))

    def _acknowledge(self, state: SentState) -> None:
        self.state = state
        self.spool.acknowledge(self.store, state)

    def _send(self, batch: _Batch) -> None:
        from mlflow.entities import Metric, Param, RunTag

        if not (batch.metrics or batch.params or batch.tags):
            self._send_other(batch.lines[0].record)
            return
        self.client.log_batch(
            self.state.run_id,
            metrics=[Metric(self._column(name), value, when, step) for name, value, when, step in batch.metrics],
            params=[Param(key, value) for key, value in batch.params.items()],
            tags=[RunTag(key, value) for key, value in batch.tags.items()],
            synchronous=True,
        )

    def _column(self, name: str) -> str:
        """The name of a metric in the store."""
        if self._columns is None:
            self._columns = Columns(self.client, experiment_id(self.client))
        return self._columns.name(name)

    def _send_other(self, record: Mapping[str, Any]) -> None:
        run_id, kind = self.state.run_id, record.get("kind")
        if kind == "run":
            self._open_run(record)
        elif kind == "artifact":
            path = self.spool.run_folder / record["path"]
            if not path.is_file():
                raise FileNotFoundError(f"{path} is not there any more")
            self.client.log_artifact(run_id, str(path), record["folder"] or None)
        elif kind == "text":
            self.client.log_text(run_id, record["text"], record["name"])
        elif kind == "status" and record["status"] == "RUNNING":
            self.client.update_run(run_id, "RUNNING")
        elif kind == "status":
            self.client.set_terminated(run_id, record["status"], record["time"])
            self._delete_doubles(record["key"])

    def _open_run(self, record: Mapping[str, Any]) -> None:
        """Find the run, or make it; its parent is the one given or the entry's."""
        parent = record.get("parent") or entry_run(self.client, record["tags"]["entry"], record["entry_hash"])
        found = next(self._runs_of(record["key"]), None)
        if found is None:
            tags = {**record["tags"], RUN_KEY: record["key"], **({PARENT: parent} if parent else {})}
            experiment = experiment_id(self.client)
            found = self.client.create_run(experiment, record["time"], tags, run_name=record["name"])
        elif parent and PARENT not in found.data.tags:
            self.client.set_tag(found.info.run_id, PARENT, parent)
        self.state = SentState(str(found.info.run_id), self.state.offset)
        path = self.spool.run_folder / "mlflow.json"
        write_text(path, json.dumps({"uri": self.store, "run_id": self.state.run_id}) + "\n")

    def _runs_of(self, key: str) -> Iterator[Any]:
        """The runs of a key, oldest first; more than one if a call to make it was answered too late."""
        order = ["attributes.start_time ASC", "attributes.run_id ASC"]
        yield from self.client.search_runs([experiment_id(self.client)], f"tags.`{RUN_KEY}` = '{key}'", order_by=order)

    def _delete_doubles(self, key: str) -> None:
        for run in self._runs_of(key):
            if run.info.run_id != self.state.run_id and not run.data.metrics:
                self.client.delete_run(run.info.run_id)


def _metrics(record: Mapping[str, Any]) -> list[tuple[str, float, int, int]]:
    return [(name, value, record["time"], record["step"]) for name, value in record["values"].items()]


def _non_finite_tags(record: Mapping[str, Any]) -> dict[str, str]:
    return {
        f"non_finite.{name}": f"{count}, first at step {first}" for name, (count, first, _) in record["counts"].items()
    }


def _what(record: Mapping[str, Any]) -> str:
    kind = record.get("kind")
    if kind in ("artifact", "text"):
        return f"the file {Path(record['path' if kind == 'artifact' else 'name']).name}"
    return f"{kind} {', '.join(list(record.get('values', {}))[:3])}".strip()
