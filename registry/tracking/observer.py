"""The observer that logs training to MLflow: one thread writes records to a spool on disk, another sends them.

Without ``MLFLOW_TRACKING_URI`` the store is ``sqlite:///mlflow.db`` in the working folder. docs/tracking.md lists the
names of metrics and tags, and the guarantees.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from builders.training.observers import Observer, RunInfo, StepReport
from registry.tracking.records import Record
from registry.tracking.run_facts import training_costs, training_params, training_tags
from registry.tracking.sender_thread import SenderThread
from registry.tracking.spool import Spool
from registry.tracking.spool_writer import SpoolWriter
from registry.tracking.store import EXPERIMENT, initialize_store, shown_uri, stored_uri, tracking_uri
from registry.tracking.stores.addresses import sqlite_path
from registry.tracking.stores.experiments import Experiment, chosen_experiment
from registry.tracking.valid_names import phase_key, valid_text

if TYPE_CHECKING:
    from PIL.Image import Image

    from specs.graph import EntryGraph

__all__ = ["EXPERIMENT", "MLflowObserver", "initialize_store", "tracking_uri"]

STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
#: Largest number of params in one record; MLflow accepts 100 per call.
MAX_PARAMS = 100
#: Longest name of a run in MLflow's databases.
MAX_NAME = 250
#: Number of alarms in the tag.
ALARMS = 10


class MLflowObserver(Observer):
    """Logs a run: parameters, losses per level, validation losses, grids, spec. A resumed run stays one MLflow run.

    The training loop only puts records in a queue. One thread appends them to ``tracking/spool.jsonl`` in the run's
    folder, and another sends them. Neither a store that is unavailable, slow or hangs nor a full disk delays or ends
    training. Unsent records are sent when the run is resumed, or by ``registry.tracking.resend.send_spool``.

    Args:
        warn: Function that is called with a message about each failure.
        patience: Seconds to wait at the end for unsent records.
        parent_run_id: Identifier of the parent MLflow run. The default is the run of the entry, if there is one.
        experiment: Name of the experiment of a new run. Default: ``MLFLOW_EXPERIMENT_NAME`` or
            ``MLFLOW_EXPERIMENT_ID``, or ``matryoshka-zoo``.
        tags: Further tags of the run.

    Raises:
        StoreError: ``MLFLOW_TRACKING_URI`` does not hold the address of a store that can be used.
    """

    def __init__(
        self,
        warn: Callable[[str], None] = print,
        patience: float = 30.0,
        parent_run_id: str | None = None,
        experiment: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.tags = dict(tags or {})
        self.warn, self.patience, self.parent_run_id = warn, patience, parent_run_id
        self.uri, self.experiment = tracking_uri(), chosen_experiment(experiment)
        self.alarms: list[str] = []
        self._run: RunInfo | None = None
        self._last_step = 0  # over all phases
        self._writing: SpoolWriter | None = None
        self._sending: SenderThread | None = None

    @property
    def run_id(self) -> str | None:
        """Identifier of the MLflow run, once the store has it."""
        sender = self._sending.sender if self._sending else None
        return sender.state.run_id or None if sender else None

    def on_start(self, run: RunInfo) -> None:
        if os.environ.get("MLFLOW_RUN_ID"):
            self.warn("MLFLOW_RUN_ID is ignored: each training has a run of its own, which is found by its folder")
        self._run = run
        self._last_step = run.first_step
        self._writing = SpoolWriter(Spool(run.folder), run.first_step, self.warn)
        self._sending = SenderThread(Spool(run.folder), self.uri, self.warn)
        self._put(_start(run, self.parent_run_id, self.uri, self.experiment))
        if self.tags:
            self._put({"kind": "tags", "values": {key: valid_text(value) for key, value in self.tags.items()}})
        self._writing.start()
        self._sending.start()

    def on_phase(self, name: str, graph: EntryGraph, steps: int | None, done: int) -> None:
        assert self._run is not None
        before = self._last_step - done
        # MLflow's names are like file names, and have no tilde.
        tag = phase_key(name, self._run.recipe.phases)
        tags = {"phase": valid_text(name), f"{tag}.level": graph.labels[0], f"{tag}.first_step": str(before + 1)}
        if steps is not None:  # the last step of a phase that is limited by hours is not known yet
            tags[f"{tag}.last_step"] = str(before + steps)
        self._put({"kind": "tags", "values": tags})
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
        # MLflow's tables show the last value of a metric, so the best value is logged too.
        how = self._run.recipe.validation.protocol if self._run is not None else ""
        self._put({"kind": "metrics", "step": step, "time": _now(), "values": values, "best": how})

    def on_errors(self, step: int, errors: Mapping[str, float]) -> None:
        self.log_metrics({f"val_error_by_log_snr/{name}": error for name, error in errors.items()}, step)

    def on_monitor(self, step: int, values: Mapping[str, float]) -> None:
        """Log values that are monitored, such as gradient norms per level, under their own names."""
        self.log_metrics(values, step)

    def on_alarm(self, step: int, message: str) -> None:
        """Set the tag ``alarm`` to the last alarms, and log their number."""
        self.alarms.append(f"step {step}: {message}")
        text = valid_text("\n".join(self.alarms[-ALARMS:]))
        self._put({"kind": "tags", "values": {"alarm": text}})
        self.log_metrics({"training/alarms": len(self.alarms)}, step)

    def on_grid(self, step: int, phase: str, grid: Image, path: Path) -> None:
        self.log_artifact(path, "grids")

    def on_end(self, status: str) -> None:
        if self._run is None or self._writing is None or self._sending is None:
            return
        deadline = time.monotonic() + self.patience
        self._put({"kind": "end", "status": STATUS[status], "time": _now()})
        if not self._writing.close(self.patience):
            self.warn(
                f"{self._run.folder}: the last records of this run could not be written to disk in time and are not in "
                "MLflow; log.jsonl has the losses"
            )
        if not self._sending.close(max(0.1, deadline - time.monotonic())):
            folder = self._run.folder
            why = self._sending.failure or f"no answer within {self.patience:.0f} s"
            self.warn(
                f"MLflow at {shown_uri(self.uri)} does not have all records of this run ({why}). Nothing is lost: "
                f"run 'zoo track --send {folder}' to send the rest, or resume the run"
            )

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log values of a step. Values that are not finite are counted in tags instead."""
        self._put({"kind": "metrics", "step": step, "time": _now(), "values": dict(values)})

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Add a file to the run, before ``on_end``. The file must stay in its place until it is sent."""
        assert self._run is not None
        place, root = os.path.abspath(path), os.path.abspath(self._run.folder)
        if os.path.commonpath([place, root]) == root:  # the run's folder may be moved
            place = os.path.relpath(place, root)
        self._put({"kind": "artifact", "path": place, "folder": folder})

    def log_picture(self, path: Path, folder: str = "grids") -> None:
        """Add a picture to the run, before ``on_end``."""
        self.log_artifact(path, folder)

    def _put(self, record: Record) -> None:
        if self._writing is not None:
            self._writing.put(record)


def _now() -> int:
    return int(time.time() * 1000)


def _start(run: RunInfo, parent: str | None, uri: str, experiment: Experiment) -> Record:
    """Return the record of a start: the run, and what is logged of it if it is not resumed."""
    from specs.expanded_yaml import expanded_yaml
    from specs.recipe_identity import fingerprint

    now = _now()
    opened: Record = {
        "kind": "run",
        "key": uuid.uuid4().hex,
        "identity": f"{fingerprint(run.recipe, run.graph.conditions)}-{run.graph.hash}",
        "name": valid_text(os.environ.get("MLFLOW_RUN_NAME", "").strip(), MAX_NAME) or run.recipe.name,
        "experiment": {"name": experiment.name, "identity": experiment.identity},
        "time": now,
        "tags": training_tags(run),
        "entry_hash": run.graph.hash,
        "parent": parent,
        **_store_facts(uri, run.folder),
    }
    params = list(training_params(run).items())
    parts = [dict(params[start : start + MAX_PARAMS]) for start in range(0, len(params), MAX_PARAMS)]
    details: list[Record] = [
        *({"kind": "params", "values": part} for part in parts),
        {"kind": "metrics", "step": 0, "time": now, "values": training_costs(run.graph)},
        {"kind": "text", "name": "spec.yaml", "text": expanded_yaml(run.graph)},
    ]
    return {"kind": "start", "run": opened, "details": details, "resumed": run.first_step > 0}


def _store_facts(uri: str, folder: Path) -> dict[str, str]:
    """Return the address of a store for the spool, and the path of its file from the run's folder."""
    path = sqlite_path(uri)
    # The folders of a project may be moved together.
    place = {"place": os.path.relpath(path, os.path.abspath(folder))} if path is not None else {}
    return {"uri": stored_uri(uri), **place}
