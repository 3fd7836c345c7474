"""Training in MLflow: an observer that logs from a thread of its own and never holds training up.

Without ``MLFLOW_TRACKING_URI`` the store is ``sqlite:///mlflow.db`` in the working folder, artifacts in ``mlruns``.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.observers import Observer, RunFacts, StepReport

if TYPE_CHECKING:
    from PIL.Image import Image

    from specs.graph import EntryGraph

__all__ = ["EXPERIMENT", "MLflowObserver", "initialise_store", "tracking_uri"]

EXPERIMENT = "matryoshka-zoo"
STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
#: Metrics are sent together, this often or when there are this many.
SECONDS, BATCH = 1.0, 500
#: MLflow takes no more params at once.
MAX_PARAMS = 100


def tracking_uri() -> str:
    """Where runs go: ``MLFLOW_TRACKING_URI``, or a SQLite file in the working folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / 'mlflow.db'}"


@contextlib.contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def initialise_store(uri: str) -> None:
    """Create the tables of a fresh SQLite store, one process at a time: several at once break it."""
    from mlflow.tracking import MlflowClient

    if not uri.startswith("sqlite:///"):
        return
    path = Path(uri.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with _file_lock(path.with_name(path.name + ".lock")):
        client = MlflowClient(tracking_uri=uri)
        if client.get_experiment_by_name(EXPERIMENT) is None:
            client.create_experiment(EXPERIMENT)


class MLflowObserver(Observer):
    """Logs a run: parameters, losses by level, held-out losses, grids, spec; one MLflow run for all of its resumes.

    Everything is put in a queue; a thread imports MLflow and sends it. A store that fails is reported once through
    ``warn`` and then left alone, but for the end of the run; training goes on.

    Args:
        warn: told of failures, once.
        patience: seconds to wait at the end for what has not been sent.
    """

    def __init__(self, warn: Callable[[str], None] = print, patience: float = 60.0) -> None:
        self.warn, self.patience = warn, patience
        self.queue: queue.SimpleQueue[Callable[[Any], None] | None] = queue.SimpleQueue()
        self.metrics: list[tuple[str, float, int, int]] = []
        self.guard = threading.Lock()
        self.uri = tracking_uri()
        self.run_id: str | None = None
        self.failed: str | None = None
        self.status = STATUS["failed"]
        self.best: dict[str, float] = {}
        self.thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def on_start(self, run: RunFacts) -> None:
        self.run_file = run.folder / "mlflow.json"
        self.queue.put(lambda client: self._open(client, run))
        self.thread.start()

    def on_phase(self, name: str, graph: EntryGraph, steps: int | None, done: int) -> None:
        self.queue.put(lambda client: client.set_tag(self.run_id, "phase", name))

    def on_step(self, report: StepReport) -> None:
        values = {f"loss/{label}": loss for label, loss in report.losses.items()}
        values |= {"training/learning_rate": report.learning_rate, "training/gradient_norm": report.gradient_norm}
        self._metrics(values | {"training/seconds_per_step": report.seconds}, report.step)

    def on_evaluate(self, step: int, losses: Mapping[str, float]) -> None:
        values = {f"held_out_v_loss/{label}": loss for label, loss in losses.items()}
        # MLflow's tables show the last value of a metric, not the best.
        self.best |= {name: min(loss, self.best.get(name, loss)) for name, loss in values.items()}
        self._metrics(values | {f"{name}_best": self.best[name] for name in values}, step)

    def on_grid(self, step: int, phase: str, grid: Image, path: Path) -> None:
        self.queue.put(lambda client: client.log_artifact(self.run_id, str(path), "grids"))

    def on_end(self, status: str) -> None:
        self.status = STATUS[status]
        self.queue.put(self._flush)
        self.queue.put(None)
        if self.thread.is_alive():
            self.thread.join(self.patience)
        if self.thread.is_alive():
            self.warn(f"MLflow at {self.uri} did not answer within {self.patience:.0f} s; part of the run is not there")

    def log_picture(self, path: Path, folder: str = "grids") -> None:
        """Add a file to the run; before ``on_end``."""
        self.queue.put(lambda client: client.log_artifact(self.run_id, str(path), folder))

    def _metrics(self, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        with self.guard:
            self.metrics += [(name, value, now, step) for name, value in values.items()]

    def _work(self) -> None:
        client = None
        try:
            client = _client(self.uri)
            for job in self._jobs():
                job(client)
        except Exception as error:  # whatever the store does must not end training
            self._give_up(error)
            while self.queue.get() is not None:  # nothing more is sent, but the run is still to be ended
                pass
        if client is not None and self.run_id is not None:
            try:
                client.set_terminated(self.run_id, self.status)
            except Exception as error:
                self._give_up(error)

    def _jobs(self) -> Iterator[Callable[[Any], None]]:
        """What is to be done, until the end; metrics are sent while there is nothing else."""
        while True:
            try:
                job = self.queue.get(timeout=SECONDS)
            except queue.Empty:
                job = self._flush
            if job is None:
                return
            yield job

    def _give_up(self, error: Exception) -> None:
        if self.failed is None:
            self.failed = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
            self.warn(f"MLflow at {self.uri} failed and is left alone ({self.failed}); log.jsonl has the run")

    def _flush(self, client: Any) -> None:
        from mlflow.entities import Metric

        if self.run_id is None:
            return
        with self.guard:
            waiting, self.metrics = self.metrics, []
        for start in range(0, len(waiting), BATCH):
            batch = [Metric(name, value, now, step) for name, value, now, step in waiting[start : start + BATCH]]
            client.log_batch(self.run_id, metrics=batch, synchronous=True)

    def _open(self, client: Any, run: RunFacts) -> None:
        self.run_id = self._known_run(client)
        if self.run_id is not None:
            client.update_run(self.run_id, "RUNNING")
            return
        experiment = client.get_experiment_by_name(EXPERIMENT)
        identity = experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT)
        created = client.create_run(identity, run_name=run.recipe.name, tags=_tags(run))
        self.run_id = created.info.run_id
        self.run_file.write_text(json.dumps({"uri": self.uri, "run_id": self.run_id}) + "\n")
        from mlflow.entities import Param

        params = [Param(key, value) for key, value in _params(run).items()]
        for start in range(0, len(params), MAX_PARAMS):
            client.log_batch(self.run_id, params=params[start : start + MAX_PARAMS])
        self._metrics(_costs(run.graph), 0)
        from specs.canonical import expanded_yaml

        client.log_text(self.run_id, expanded_yaml(run.graph), "spec.yaml")

    def _known_run(self, client: Any) -> str | None:
        """The MLflow run of an earlier part of this training, if the store still has it."""
        try:
            facts = json.loads(self.run_file.read_text())
            if facts["uri"] == self.uri:
                metrics = client.get_run(facts["run_id"]).data.metrics
                best = {name.removesuffix("_best"): value for name, value in metrics.items() if name.endswith("_best")}
                self.best = best | self.best
                return str(facts["run_id"])
        except Exception:  # no such file, or another store: this becomes a new run
            return None
        return None


def _client(uri: str) -> Any:
    """A client of the store, which is made if it is a SQLite file that is not there.

    Settings of MLflow that are not the user's: two tries instead of minutes of them, no telemetry, no chatter.
    """
    import logging

    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    initialise_store(uri)
    return MlflowClient(tracking_uri=uri)


def _tags(run: RunFacts) -> dict[str, str]:
    from builders.checkpoint import versions

    tags = {
        "kind": "training",
        "entry": run.graph.name,
        "hash": run.graph.hash,
        "graph_hash": run.graph.graph_hash,
        "device": run.device,
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
        "data": str(run.data.get("name")),
        "data_licence": str(run.data.get("licence")),
    }
    tags |= {f"version.{name}": value for name, value in versions().items()}
    commit = _commit()
    return tags | ({"commit": commit} if commit else {})


def _commit() -> str | None:
    """The commit of the source that runs, where it runs from a checkout."""
    folder = Path(__file__).parent.parent
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _params(run: RunFacts) -> dict[str, str]:
    params = _flat(run.recipe.model_dump(mode="json", exclude={"summary"}))
    params |= {
        "levels": ", ".join(run.graph.labels),
        "time_width": str(run.graph.time_width),
        **{f"{level.label}.stem_width": str(level.stem_width) for level in run.graph.levels},
        **{f"{level.label}.blocks": str(len(level.nodes)) for level in run.graph.levels},
    }
    return params


def _flat(value: Any, path: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in _flat(item, f"{path}.{key}".strip(".")).items()}
    return {path: str(value)[:500]}


def _costs(graph: EntryGraph) -> dict[str, float]:
    """Parameters, MACs and FLOPs (two a MAC) of one sample: of the whole, and of each level without those inside it."""
    from registry.card import make_card

    card = make_card(graph)
    costs: dict[str, float] = {"parameters": card.parameters, "macs": card.macs, "flops": card.flops}
    for level in card.levels:
        costs |= {
            f"parameters/{level.label}": level.parameters,
            f"macs/{level.label}": level.macs,
            f"flops/{level.label}": level.flops,
        }
    return costs
