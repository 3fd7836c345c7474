"""Meetings of the processes that train together, at which none waits for hours if another has failed."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from builders.training.errors import TrainingError
from builders.training.starting.patience import JOIN, patience

__all__ = ["Meeting"]


class Meeting:
    """A key-value store of all processes that a launcher started.

    Args:
        store: Store of torch.
        rank: Rank of this process.
        count: Number of processes.
        seconds: Longest wait for other processes.
    """

    def __init__(self, store: Any, rank: int, count: int, seconds: float) -> None:
        self._store, self._rank, self._count, self._seconds = store, rank, count, seconds

    @staticmethod
    def of_launcher() -> Meeting | None:
        """Open the store at the address of the launcher; return None if this process was started alone.

        Raises:
            TrainingError: The other processes do not come in time.
        """
        from torch import distributed

        if int(os.environ.get("WORLD_SIZE", "1") or 1) < 2 or "RANK" not in os.environ or distributed.is_initialized():
            return None
        if not {"MASTER_ADDR", "MASTER_PORT"} <= set(os.environ):
            return None
        seconds = patience(JOIN)
        try:
            store, rank, count = next(distributed.rendezvous("env://", timeout=timedelta(seconds=seconds)))
        except (RuntimeError, ValueError, OSError) as error:  # torch's errors of networks are RuntimeErrors
            where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
            reason = str(error).strip().partition("\n")[0]
            raise TrainingError(f"the processes did not meet at {where} ({reason}). {_advice(seconds)}") from None
        return Meeting(store, rank, count, seconds)

    def join(self, name: str) -> None:
        """Wait until all processes are here.

        Args:
            name: Name of the meeting, the same in all processes.

        Raises:
            TrainingError: Some do not come in time. The message names their ranks.
        """
        # A launcher that restarts the processes keeps its store.
        name = f"zoo/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{name}"
        keys = [f"{name}/{rank}" for rank in range(self._count)]
        try:
            self._store.set(keys[self._rank], "here")
            self._store.wait(keys, timedelta(seconds=self._seconds))
        except RuntimeError:  # DistStoreError, or the connection to a process that has ended
            missing = ", ".join(str(rank) for rank, key in enumerate(keys) if not self._has(key))
            which = f"rank {missing}" if missing else "another rank"
            raise TrainingError(
                f"rank {self._rank} waited {self._seconds:.0f} s in vain for {which} of {self._count} processes, "
                f"which has perhaps failed. {_advice(self._seconds)}"
            ) from None

    def _has(self, key: str) -> bool:
        try:
            return bool(self._store.check([key]))
        except RuntimeError:
            return False


def _advice(seconds: float) -> str:
    return f"See the output of the other processes; to wait longer than {seconds:.0f} s, set {JOIN}"
