"""``python -m tests.fuzz --minutes 10 --workers 2``; exits with 1 if something was found."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from pathlib import Path

from tests.fuzz.runner import MEMORY, Found, check, fuzz, warm_up
from tests.fuzz.runner import scratch_folder as empty_folder
from tests.fuzz.targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Read made-up files for some time.")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"), help="folder for inputs that fail")
    parser.add_argument("--replay", type=Path, help="read one saved input again, and show what happens")
    options = parser.parse_args()
    if options.replay is not None:
        return replay(options.replay)
    began = time.monotonic()
    seeds = [options.seed * 1000 + number for number in range(options.workers)]
    folder = options.failures.absolute()
    jobs = [(options.minutes * 60, seed, options.targets, folder) for seed in seeds]
    found = Found()
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        for part in pool.starmap(fuzz, jobs):
            found.add(part)
    for name in options.targets:
        print(f"{name:10} {found.inputs[name]:8,} inputs, {found.accepted[name]:8,} accepted")
    for text in found.failures.values():
        print(f"\n{text}")
    print(
        f"{sum(found.inputs.values()):,} inputs in {time.monotonic() - began:.0f} s; {len(found.failures)} failures; "
        f"slowest {found.slowest:.2f} s; peak memory per process {found.memory:.0f} MiB, of which {found.base:.0f} "
        "before the first input"
    )
    return int(bool(found.failures) or found.memory > MEMORY)


def replay(path: Path) -> int:
    """Read a saved input again."""
    data, target = path.read_bytes(), TARGETS[path.name.partition("-")[0]]
    with empty_folder() as scratch:
        warm_up([target], scratch)
        problem = check(target, data, scratch)
    print(problem or "accepted")
    return int(problem not in (None, "refused"))


if __name__ == "__main__":
    sys.exit(main())
