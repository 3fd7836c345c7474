"""Training steps alone and beside two other trainings, by how long the threads of OpenMP poll before they sleep.

    python benchmarks/threads.py --threads 2 --rounds 5

Each setting has three processes of its own, as the environment counts when torch is imported. One is measured, by the
clock; the two others train the same network beside it with the same setting. Rounds alternate between settings. Needs a
machine that does nothing else, with about 0.4 GB of memory for each process.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

#: Environments by name. "libgomp" is its default, 300,000 rounds of polling.
SETTINGS: dict[str, dict[str, str]] = {
    "libgomp": {},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    **{spins: {"GOMP_SPINCOUNT": spins} for spins in ("1000", "2000", "3000", "5000", "10000")},
}
#: Innermost level of mdm-nano, with which its training begins.
ENTRY = """
name: inner
resolution: 16
inputs: {classes: 10}
defaults: {resnet: {groups: 8}, attention: {groups: 8}}
head: {groups: 8}
stages:
  r16: {width: 32, depth: 1}
  r8: {width: 64, depth: 1, attention: 1}
"""
ROOT = Path(__file__).resolve().parents[1]
OTHERS = 2


class Training:
    """A process that trains when it is asked to.

    Args:
        setting: Variables of its environment.
        threads: Number of its threads.
        rows: Rows of a step.
    """

    def __init__(self, setting: Mapping[str, str], threads: int, rows: int) -> None:
        inherited = {
            name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
        }
        environment = {**inherited, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads), **setting}
        command = [sys.executable, str(Path(__file__).resolve()), "--steps-of", str(rows)]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def wait(self) -> None:
        """Wait until it is ready to train."""
        self._read()

    def start(self, seconds: float) -> None:
        """Start to train for some seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")

    def result(self) -> float:
        """Wait until the seconds have passed; return the seconds of a step."""
        return float(self._read())

    def end(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a training has failed; its message is above")
        return line


def train(rows: int) -> None:
    """Train for the seconds in each line of stdin; print the mean seconds of a step. Runs in a process of its own."""
    from benchmarks.suite.trainers import zoo_step
    from specs.load import load_text

    _, step = zoo_step(load_text(ENTRY).graph, rows, "cpu")
    for _ in range(3):
        step()
    print("ready", flush=True)
    for line in sys.stdin:
        steps, begun = 0, time.perf_counter()
        while time.perf_counter() < begun + float(line) or not steps:
            step()
            steps += 1
        print((time.perf_counter() - begun) / steps, flush=True)


@contextlib.contextmanager
def trainings(settings: Sequence[str], threads: int, rows: int) -> Iterator[dict[str, list[Training]]]:
    """Start the processes of all settings, one after the other, and end them."""
    started: dict[str, list[Training]] = {name: [] for name in settings}
    try:
        for name, members in started.items():
            for _ in range(1 + OTHERS):
                members.append(Training(SETTINGS[name], threads, rows))
            for member in members:
                member.wait()
        yield started
    finally:
        for members in started.values():
            for member in members:
                member.end()


def measure(members: Sequence[Training], seconds: float) -> tuple[float, float]:
    """Return the seconds of a step of the first training, alone and beside the others."""
    first, others = members[0], members[1:]
    first.start(seconds)
    alone = first.result()
    for other in others:
        other.start(3 * seconds)
    time.sleep(seconds / 2)  # they also end after the first one
    first.start(2 * seconds)
    beside = first.result()
    for other in others:
        other.result()
    return alone, beside


def main() -> None:
    """Print, for each setting, the medians alone and beside others, and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS), help="Settings.")
    parser.add_argument("--threads", type=int, default=2, help="Threads of each training.")
    parser.add_argument("--rounds", type=int, default=5, help="Rounds.")
    parser.add_argument("--seconds", type=float, default=1.5, help="Seconds of a measurement.")
    parser.add_argument("--rows", type=int, default=32, help="Rows of a step.")
    parser.add_argument("--steps-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.steps_of is not None:
        train(options.steps_of)
        return
    alone: dict[str, list[float]] = {name: [] for name in options.settings}
    beside: dict[str, list[float]] = {name: [] for name in options.settings}
    with trainings(options.settings, options.threads, options.rows) as started:
        for _ in range(options.rounds):
            for name, members in started.items():
                times = measure(members, options.seconds)
                alone[name].append(times[0])
                beside[name].append(times[1])
    print(f"{os.cpu_count()} cores, {options.threads} threads each; median ms of a step in {options.rounds} rounds")
    first = options.settings[0]
    print(f"{'setting':10}{'alone':>9}{'of ' + first:>13}{'beside':>9}{'of alone':>10}{'of idle ' + first:>18}")
    base = statistics.median(alone[first])
    for name in options.settings:
        idle, busy = statistics.median(alone[name]), statistics.median(beside[name])
        ratio = statistics.median(here / there for here, there in zip(alone[name], alone[first], strict=True))
        print(f"{name:10}{1e3 * idle:9.1f}{ratio:13.3f}{1e3 * busy:9.1f}{busy / idle:10.2f}{busy / base:18.2f}")


if __name__ == "__main__":
    main()
