"""Runs inputs one by one: time and memory of each, what it raises, and failures saved as files."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType

from tests.fuzz.targets import OURS, TARGETS, Target, is_refusal

#: Seconds of the processor that an input may take, seconds in all (the machine may be busy), and MiB of the process.
SECONDS, WAITING, MEMORY = 2.0, 20.0, 500
#: Largest input in bytes.
MOST = 500_000
#: MiB that one input may add.
GROWTH = 100


class Hang(BaseException):
    """An input took too long."""


@dataclass
class Found:
    """The result of some inputs.

    Attributes:
        inputs: Number of inputs by target.
        accepted: Number of inputs without an error by target.
        failures: Description by target and place.
        slowest: Longest time of an input in seconds of the processor.
        memory: Peak memory of the process in MiB while it reads an input.
        base: Peak memory in MiB before the first input, with all libraries imported.
    """

    inputs: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    slowest: float = 0.0
    memory: float = 0.0
    base: float = 0.0

    def add(self, other: Found) -> None:
        """Add the result of another process."""
        self.inputs += other.inputs
        self.accepted += other.accepted
        self.failures |= other.failures
        self.slowest, self.memory = max(self.slowest, other.slowest), max(self.memory, other.memory)
        self.base = max(self.base, other.base)


def fuzz(seconds: float, seed: int, names: list[str], folder: Path) -> Found:
    """Make and read inputs for some time of the processor.

    Args:
        seconds: Seconds of the processor.
        seed: Seed of the inputs.
        names: Names of targets.
        folder: Folder for inputs that fail.
    """
    random, found = Random(seed), Found()
    targets = [TARGETS[name] for name in names]
    with scratch_folder() as scratch:
        warm_up(targets, scratch)
        end, found.base = time.process_time() + seconds, memory()
        while time.process_time() < end:
            target = random.choices(targets, [target.share for target in targets])[0]
            data = target.make(Random(random.getrandbits(64)))[:MOST]
            found.inputs[target.name] += 1
            began = time.process_time()
            problem = check(target, data, scratch)
            found.memory = max(found.memory, memory())
            found.slowest = max(found.slowest, time.process_time() - began)
            if problem is None or problem == "refused":
                found.accepted[target.name] += problem is None
                continue
            where = f"{target.name}: {problem.splitlines()[-1].partition(':')[0]} in {_place(problem)}"
            if where not in found.failures:
                found.failures[where] = (
                    f"{problem}\nto reproduce: python -m tests.fuzz --replay {_save(folder, target, data)}"
                )
    return found


def _place(problem: str) -> str:
    """Return the last line of ours in a traceback."""
    lines = [line.strip() for line in problem.splitlines() if 'File "' in line and "/tests/" not in line]
    ours = [line for line in lines if any(f"/{name}/" in line for name in OURS) and "site-packages" not in line]
    return (ours or lines or [""])[-1]


def warm_up(targets: list[Target], scratch: Path) -> None:
    """Read an input of each target, so that no import is counted."""
    for target in targets:
        with contextlib.suppress(Exception):
            target.read(target.make(Random(0)), scratch)
        _emptied(scratch)


def check(target: Target, data: bytes, scratch: Path) -> str | None:
    """Read one input: None if it is accepted, "refused", or a description of what is wrong."""
    # A new peak: making an input may have taken more memory than reading it does.
    Path("/proc/self/clear_refs").write_text("5")
    before = memory()
    problem = _read(target, data, scratch)
    if memory() > max(MEMORY, before + GROWTH):
        return f"{problem or ''}\n{memory():,.0f} MiB, {memory() - before:,.0f} of it by one input"
    return problem


def _read(target: Target, data: bytes, scratch: Path) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _limited():
                target.read(data, scratch)
    except Hang as error:
        return "".join(traceback.format_exception(error)[-6:]) + f"\nmore than {SECONDS:.0f} s"
    except Exception as error:
        if not is_refusal(error):
            return "".join(traceback.format_exception(error)[-12:]).strip() + f"\n{type(error).__name__}"
        return "refused"
    finally:
        _emptied(scratch)
    return None


def memory() -> float:
    """Peak memory of this process in MiB, without the files of libraries that it maps (220 MiB with torch alone)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines if "kB" in line)}
    return (found["VmHWM"] - found["RssFile"] - found["RssShmem"]) / 1024


@contextmanager
def _limited() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang

    timers = ((signal.ITIMER_PROF, signal.SIGPROF, SECONDS), (signal.ITIMER_REAL, signal.SIGALRM, WAITING))
    previous = [signal.signal(number, stop) for _, number, _ in timers]
    for timer, _, seconds in timers:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for (timer, number, _), before in zip(timers, previous, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, before)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty working folder, and no store, cache or home of the user."""
    before, variables = Path.cwd(), dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"ZOO_CACHE": f"{folder}/cache", "HF_HUB_OFFLINE": "1", "ZOO_PATH": ""}
        scratch = Path(folder) / "work"
        scratch.mkdir()
        os.chdir(scratch)
        try:
            yield scratch
        finally:
            os.chdir(before)
            os.environ.clear()
            os.environ.update(variables)


def _emptied(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _save(folder: Path, target: Target, data: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{target.name}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return path
