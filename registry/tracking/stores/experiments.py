"""The MLflow experiment of runs: an option, or MLflow's variables, or ``matryoshka-zoo``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from registry.tracking.stores.addresses import StoreError, mlflow_uri, shown_uri, sqlite_path

__all__ = ["EXPERIMENT", "Experiment", "chosen_experiment", "experiment_id"]

EXPERIMENT = "matryoshka-zoo"
#: Codes of MLflow's errors for an identifier that a store does not have.
_UNKNOWN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment that was asked for.

    Attributes:
        name: Its name, or None if only its identifier is known.
        identity: Its identifier, or None.
    """

    name: str | None = EXPERIMENT
    identity: str | None = None


def chosen_experiment(name: str | None = None) -> Experiment:
    """Return the experiment to log to.

    Args:
        name: Name given as an option. Default: ``MLFLOW_EXPERIMENT_NAME`` and ``MLFLOW_EXPERIMENT_ID``, or
            ``matryoshka-zoo`` if neither is set.
    """
    if name:
        return Experiment(name)
    named = os.environ.get("MLFLOW_EXPERIMENT_NAME", "").strip()
    identity = os.environ.get("MLFLOW_EXPERIMENT_ID", "").strip()
    return Experiment(named or None, identity or None) if named or identity else Experiment()


def experiment_id(client: Any, wanted: Experiment | None = None) -> str:
    """Return the identifier of an experiment in a store; create or restore it if needed.

    Args:
        client: MLflow client of the store.
        wanted: Experiment. Default: :func:`chosen_experiment`.

    Raises:
        StoreError: The store has no experiment with this identifier, or name and identifier are of two experiments.
    """
    wanted = wanted or chosen_experiment()
    found = _by_identity(client, wanted) if wanted.identity else _by_name(client, str(wanted.name))
    if found.lifecycle_stage != "active":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _by_identity(client: Any, wanted: Experiment) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_experiment(wanted.identity)
    except MlflowException as error:
        if error.error_code not in _UNKNOWN:
            raise
        raise StoreError(
            f"MLflow at {shown_uri(client.tracking_uri)} has no experiment with the id {wanted.identity} "
            "(MLFLOW_EXPERIMENT_ID); unset the variable, or name an experiment with --experiment"
        ) from None
    if wanted.name is not None and found.name != wanted.name:
        raise StoreError(
            f"MLFLOW_EXPERIMENT_ID is {wanted.identity}, the id of the experiment {found.name!r}, but "
            f"MLFLOW_EXPERIMENT_NAME is {wanted.name!r}; unset one of them"
        )
    return found


def _by_name(client: Any, name: str) -> Any:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None:
        return found
    try:
        return client.get_experiment(_create(client, name))
    except MlflowException:  # another process created it in between
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
    return found


def _create(client: Any, name: str) -> str:
    path = sqlite_path(client.tracking_uri)
    if path is None:
        return str(client.create_experiment(name))
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    # The client would write the path of the artifacts without quotes, and MLflow undoes quotes when it reads it.
    store = SqlAlchemyStore(mlflow_uri(client.tracking_uri), (path.parent / "mlruns").as_uri())
    try:
        return str(store.create_experiment(name))
    finally:
        store.engine.dispose()
