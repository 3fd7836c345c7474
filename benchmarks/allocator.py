"""Training steps on the CPU with the memory allocator as it is, and with freed memory kept for reuse.

    python -m benchmarks.allocator
    python -m benchmarks.allocator --cases doll-n32:r32:8 --rounds 5 --steps 40

Each setting has processes of its own, which take turns, because an allocator cannot be set back. Weights and images are
random. One thread computes; times are CPU time of the process and of the system for it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

CASES = ("doll-n32:r32:8", "mdm-nano:r16:16", "mdm-nano:r64:8")
SETTINGS = ("glibc", "kept")
ROOT = Path(__file__).resolve().parents[1]
WARM_UP = 4


def steps_of(case: str, setting: str, steps: int) -> None:
    """Train a few steps in this process, and print what they took as JSON."""
    import torch

    from benchmarks.precision import started_phase
    from benchmarks.suite.inputs import random_batch
    from specs.load import load_entry
    from zoo.allocator import keep_freed_memory

    if setting == "kept" and not keep_freed_memory():
        raise SystemExit("this system has another allocator than glibc's, which cannot be set")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    entry, label, rows = case.rsplit(":", 2)
    graph = load_entry(entry).graph.inner(label)
    batch = random_batch(graph, int(rows), torch.device("cpu"))
    phase, _ = started_phase(entry, graph, int(rows), "float32")
    for number in range(WARM_UP):
        phase.step(number, batch)
    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.process_time()
    for number in range(steps):
        result = phase.step(WARM_UP + number, batch)
    seconds, after = time.process_time() - begun, resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "seconds": seconds / steps,
        "faults": (after.ru_minflt - before.ru_minflt) / steps,
        "megabytes": after.ru_maxrss / 1024,
        "losses": result.numbers.losses,
    }
    print(json.dumps(found))


def measured(case: str, setting: str, steps: int) -> dict[str, float]:
    """Return what steps take in a process of their own."""
    own = ("MALLOC_", "GLIBC_", "LD_PRELOAD")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    command = [sys.executable, "-m", "benchmarks.allocator", "--steps-of", setting, "--cases", case]
    command += ["--steps", str(steps)]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(done.returncode)
    return json.loads(done.stdout)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=CASES, help="Entries, levels and rows, such as mdm-nano:r32:8.")
    parser.add_argument("--rounds", type=int, default=3, help="Processes of each setting, in turn.")
    parser.add_argument("--steps", type=int, default=30, help="Timed steps of each process.")
    parser.add_argument("--steps-of", choices=SETTINGS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.steps_of:
        steps_of(options.cases[0], options.steps_of, options.steps)
        return
    print("case              setting  ms a step  page faults a step  peak MB  ratio of times")
    for case in options.cases:
        found: dict[str, list[dict[str, float]]] = {setting: [] for setting in SETTINGS}
        for _ in range(options.rounds):
            for setting in SETTINGS:
                found[setting].append(measured(case, setting, options.steps))
        assert len({json.dumps(each["losses"]) for runs in found.values() for each in runs}) == 1, "losses differ"
        pairs = zip(found["kept"], found["glibc"], strict=True)
        ratios = sorted(kept["seconds"] / plain["seconds"] for kept, plain in pairs)
        for setting, runs in found.items():
            middle = {name: statistics.median(each[name] for each in runs) for name in runs[0] if name != "losses"}
            note = f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})" if setting == "kept" else ""
            print(
                f"{case:17} {setting:7} {1000 * middle['seconds']:10.1f} {middle['faults']:19,.0f} "
                f"{middle['megabytes']:8,.0f}  {note}",
                flush=True,
            )


if __name__ == "__main__":
    main()
