"""Training in MLflow: an observer that writes what it is told to a spool on disk, from which a thread sends it.

Without ``MLFLOW_TRACKING_URI`` the store is ``sqlite:///mlflow.db`` in the working folder, artifacts in ``mlruns``.
docs/tracking.md has the names of metrics and tags, and what is guaranteed.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from builders.training.observers import Observer, RunInfo, StepReport
from registry.tracking.run_facts import training_costs, training_params, training_tags
from registry.tracking.sender_thread import SenderThread
from registry.tracking.spool import Spool
from registry.tracking.spool_history import SpoolHistory
from registry.tracking.spool_writer import Job, Record, SpoolThread
from registry.tracking.store import EXPERIMENT, initialise_store, shown_uri, tracking_uri

if TYPE_CHECKING:
    from PIL.Image import Image

    from specs.graph import EntryGraph

__all__ = ["EXPERIMENT", "MLflowObserver", "initialise_store", "tracking_uri"]

STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
#: Params or tags of one record; MLflow takes no more at once.
AT_ONCE = 100
#: So many alarms are in the tag; their number is a metric.
ALARMS = 10


class MLflowObserver(Observer):
    """Logs a run: parameters, losses by level, held-out losses, grids, spec; one MLflow run for all of its resumes.

    The training loop puts what happens in a queue; one thread appends it to ``tracking/spool.jsonl`` in the run's
    folder, another sends it. Neither a store that is away, slow or hangs nor a full disk holds training up or ends it.
    What a store did not get is sent by the next start of the run, or by ``registry.tracking.resend.send_spool``.

    Args:
        warn: told of failures.
        patience: seconds to wait at the end for what has not been sent.
        parent_run_id: the MLflow run this one is a child of; by default that of the entry, if there is one.
    """

    def __init__(
        self, warn: Callable[[str], None] = print, patience: float = 30.0, parent_run_id: str | None = None
    ) -> None:
        self.warn, self.patience, self.parent_run_id = warn, patience, parent_run_id
        self.uri = tracking_uri()
        self.alarms: list[str] = []
        self._run: RunInfo | None = None
        #: Steps so far, over all phases.
        self._last_step = 0
        self._writing: SpoolThread | None = None
        self._sending: SenderThread | None = None

    @property
    def run_id(self) -> str | None:
        """The MLflow run, once the store has it."""
        sender = self._sending.sender if self._sending else None
        return sender.state.run_id or None if sender else None

    def on_start(self, run: RunInfo) -> None:
        self._run = run
        self._last_step = run.first_step
        self._writing = SpoolThread(Spool(run.folder), run.first_step, self.warn)
        self._sending = SenderThread(Spool(run.folder), self.uri, self.warn)
        self._put(lambda history: _opening(run, history, self.parent_run_id, shown_uri(self.uri)))
        self._writing.start()
        self._sending.start()

    def on_phase(self, name: str, graph: EntryGraph, steps: int | None, done: int) -> None:
        assert self._run is not None
        before = self._last_step - done
        tags = {"phase": name, f"phase/{name}.level": graph.labels[0], f"phase/{name}.first_step": str(before + 1)}
        if steps is not None:  # a phase of so many hours has no last step yet
            tags[f"phase/{name}.last_step"] = str(before + steps)
        self._put(lambda history: [{"kind": "tags", "values": tags}])
        if steps is None or done < steps:
            number = list(self._run.recipe.phases).index(name) + 1
            self.log_metrics({"training/phase": number}, before + done + 1)

    def on_step(self, report: StepReport) -> None:
        self._last_step = report.step
        values = {f"loss/{label}": loss for label, loss in report.losses.items()}
        values |= {"training/learning_rate": report.learning_rate, "training/gradient_norm": report.gradient_norm}
        self.log_metrics(values | {"training/seconds_per_step": report.seconds}, report.step)

    def on_evaluate(self, step: int, losses: Mapping[str, float]) -> None:
        values = {f"val_v_loss/{label}": loss for label, loss in losses.items()}
        now = _now()
        # MLflow's tables show the last value of a metric, not the best.
        self._put(lambda history: _metrics(history, values | history.improve(values), step, now))

    def on_monitor(self, step: int, values: Mapping[str, float]) -> None:
        """What is watched in training, such as gradient norms by level; names as they are."""
        self.log_metrics(values, step)

    def on_alarm(self, step: int, message: str) -> None:
        """Something is wrong: the last alarms are the tag ``alarm``, their number a metric."""
        self.alarms.append(f"step {step}: {message}")
        text = "\n".join(self.alarms[-ALARMS:])
        self._put(lambda history: [{"kind": "tags", "values": {"alarm": text}}])
        self.log_metrics({"training/alarms": len(self.alarms)}, step)

    def on_grid(self, step: int, phase: str, grid: Image, path: Path) -> None:
        self.log_artifact(path, "grids")

    def on_end(self, status: str) -> None:
        if self._run is None or self._writing is None or self._sending is None:
            return
        now, deadline = _now(), time.monotonic() + self.patience
        self._put(lambda history: _ending(history, STATUS[status], now))
        if not self._writing.close(self.patience):
            self.warn(
                f"{self._run.folder}: the disk did not take the last records of this run in time; MLflow misses them, "
                "losses are in log.jsonl too"
            )
        if not self._sending.close(max(0.1, deadline - time.monotonic())):
            folder = self._run.folder
            why = self._sending.failure or f"no answer within {self.patience:.0f} s"
            self.warn(
                f"MLflow at {shown_uri(self.uri)} does not have all of this run ({why}). Nothing is lost: "
                f"zoo track --send {folder} sends the rest, and so does going on with the run"
            )

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers of a step; those that are not finite are counted in tags instead."""
        values, now = dict(values), _now()
        self._put(lambda history: _metrics(history, values, step, now))

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Add a file to the run, which must stay where it is until it is sent; before ``on_end``."""
        assert self._run is not None
        kept = os.path.abspath(path)
        root = os.path.abspath(self._run.folder)
        if os.path.commonpath([kept, root]) == root:  # the run's folder may be moved
            kept = os.path.relpath(kept, root)
        self._put(lambda history: [{"kind": "artifact", "path": kept, "folder": folder}])

    def log_picture(self, path: Path, folder: str = "grids") -> None:
        """Add a picture to the run; before ``on_end``."""
        self.log_artifact(path, folder)

    def _put(self, job: Job) -> None:
        if self._writing is not None:
            self._writing.put(job)


def _now() -> int:
    return int(time.time() * 1000)


def _opening(run: RunInfo, history: SpoolHistory, parent: str | None, uri: str) -> list[Record]:
    """What a run starts with: who it is and what it costs; of one that goes on, where it goes on."""
    from specs.expanded_yaml import expanded_yaml
    from specs.recipe_identity import fingerprint

    now, tags = _now(), training_tags(run)
    identity = f"{fingerprint(run.recipe, run.graph.conditions)}-{run.graph.hash}"
    ours = history.run is not None and history.run["identity"] == identity
    # A run that ended and starts from nothing is another run in the same folder.
    if ours and (run.first_step or history.status != "FINISHED"):
        assert history.run is not None
        return [{"kind": "tags", "values": tags}, {**_status(history.run["key"], "RUNNING", now), "uri": uri}]
    history.forget()
    opened: Record = {
        "kind": "run",
        "key": uuid.uuid4().hex,
        "identity": identity,
        "name": run.recipe.name,
        "time": now,
        "tags": tags,
        "entry_hash": run.graph.hash,
        "parent": parent,
        "uri": uri,
    }
    history.run = opened
    params = list(training_params(run).items())
    parts = [dict(params[start : start + AT_ONCE]) for start in range(0, len(params), AT_ONCE)]
    return [
        opened,
        *({"kind": "params", "values": part} for part in parts),
        {"kind": "metrics", "step": 0, "time": now, "values": training_costs(run.graph)},
        {"kind": "text", "name": "spec.yaml", "text": expanded_yaml(run.graph)},
    ]


def _metrics(history: SpoolHistory, values: Mapping[str, float], step: int, now: int) -> list[Record]:
    finite = history.filtered(values, step)
    records: list[Record] = [{"kind": "metrics", "step": step, "time": now, "values": finite}] if finite else []
    if len(finite) < len(values) and (counts := history.counts_to_report()):
        records.append({"kind": "non_finite", "counts": counts})
    return records


def _ending(history: SpoolHistory, status: str, now: int) -> list[Record]:
    counts = history.non_finite
    key = history.run["key"] if history.run else ""
    return [*([{"kind": "non_finite", "counts": counts}] if counts else []), _status(key, status, now)]


def _status(key: str, status: str, now: int) -> Record:
    return {"kind": "status", "key": key, "status": status, "time": now}
