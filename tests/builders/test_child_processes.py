"""Child processes end with their parent, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from builders.child_processes import follow_parent
from tests.helpers.paths import ROOT

PLAIN = """
import multiprocessing, os, sys, time
from builders.child_processes import follow_parent

def child():
    follow_parent()
    print(os.getpid(), flush=True)
    time.sleep(60)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    for _ in range(2):
        context.Process(target=child, daemon=True).start()
    time.sleep(60)
"""
TRAINING = """
import sys
from builders.data.open import open_dataset
from builders.training.batches import read_batches

class Plan:
    def read(self, step, data):
        import os, time, torch
        print(os.getpid(), flush=True)
        time.sleep(60)

if __name__ == "__main__":
    next(read_batches(Plan(), None, 0, 9, workers=2))
"""
PACKING = """
import sys
from pathlib import Path
from builders.data.packing import shard

if __name__ == "__main__":
    from concurrent.futures import ProcessPoolExecutor
    import multiprocessing, os, time
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context, initializer=shard.listen, initargs=(context.Event(),)) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        for _ in range(2):
            pool.submit(time.sleep, 60)
        time.sleep(60)
"""


def alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and is not yet reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(script: str, folder: Path, number: int, *arguments: str) -> tuple[subprocess.Popen[str], list[int]]:
    (folder / "script.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(folder / "script.py"), *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    with process.stdout as lines:
        return process, [int(lines.readline()) for _ in range(number)]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("script", "number", "arguments"),
    [
        (PLAIN, 2, ("fork",)),
        pytest.param(PLAIN, 2, ("spawn",), marks=pytest.mark.slow),
        pytest.param(TRAINING, 2, (), marks=pytest.mark.slow),
        pytest.param(PACKING, 1, (), marks=pytest.mark.slow),
    ],
)
def test_children_end_with_a_parent_that_is_killed(
    script: str, number: int, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    process, found = children(script, tmp_path, number, *arguments)
    for pid in found:  # what reaches the whole group does not end them before the parent
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
    time.sleep(0.2)
    assert all(map(alive, found))
    process.kill()
    process.wait()
    started = time.monotonic()
    while any(map(alive, found)) and time.monotonic() - started < 10:
        time.sleep(0.02)
    assert not any(map(alive, found))


def test_nothing_happens_without_a_parent() -> None:
    before = signal.getsignal(signal.SIGTERM)
    follow_parent()
    assert signal.getsignal(signal.SIGTERM) == before
