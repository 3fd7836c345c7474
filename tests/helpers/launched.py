"""Trainings of several processes on this machine, each started as a launcher starts it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.helpers.paths import ROOT

__all__ = ["SCRIPT", "ended", "records", "start"]

#: Runs jobs: name of the folder, and changes of micro-test, with what happens in which rank at which call of ``stop``.
SCRIPT = """
import json, math, os, signal, sys, time
from functools import partial
import torch
from builders.training import loop, phase
from builders.training.engine import compiled
from builders.training.errors import Interrupted, TrainingError
from builders.training.json_log import JsonLog
from builders.training.observers import Observers
from builders.training.start import train
from specs.recipe import load_recipe

def distances(log):
    from registry.evaluation import features
    from registry.evaluation.during_training import DistanceObserver
    from tests.helpers.measured import extractor
    features.open_features = lambda *args, **kwargs: extractor()
    return DistanceObserver(report=log.on_distance)

loop.draw_samples = partial(loop.draw_samples, num_inference_steps=2)
rank = int(os.environ["RANK"])
honest, measured = phase.sample_losses, loop.validation_losses
for folder, job in json.loads(sys.argv[1]).items():
    calls = 0

    def stop():
        global calls
        calls += 1
        if job.get("kill") == [rank, calls]:
            os.kill(os.getpid(), signal.SIGKILL)
        if job.get("hang") == [rank, calls]:
            time.sleep(3600)
        return job.get("stop") == calls

    def spoiled(*args):
        losses = honest(*args)
        if rank == job["nan"][0] and calls in job["nan"][1:]:
            losses = {label: each * math.nan for label, each in losses.items()}
        return losses

    def broken(*args, **options):
        if rank == job["broken"]:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return measured(*args, **options)

    loop.validation_losses = broken if "broken" in job else measured
    def failing(*inputs):
        raise ImportError("code.so: file too short")

    if "uncompiled" in job:  # blocks run as they are, or cannot be compiled in one rank
        compiled.compiler_problem = lambda device: None
        implementation = failing if rank == job["uncompiled"] else None
        torch.nn.Module.compile = lambda self, **_: setattr(self, "_compiled_call_impl", implementation)
    phase.sample_losses = spoiled if "nan" in job else honest
    torch.set_default_dtype(getattr(torch, job.get("dtype", "float32")))
    try:
        recipe, log = load_recipe("micro-test", job["changes"]), JsonLog()
        measuring = [distances(log)] if recipe.every.distance else []
        train(recipe, folder, observer=Observers([log, *measuring]), stop=stop)
    except Interrupted:
        print(f"{folder}: interrupted")
    except TrainingError as error:
        print(f"{folder}: {error}", file=sys.stderr, flush=True)
        if not job.get("fails"):
            sys.exit(2)
"""


def start(jobs: Mapping[str, Any], count: int = 2, **environment: str) -> list[subprocess.Popen[str]]:
    """Start processes that train jobs one after the other; see ``SCRIPT``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(count)}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), **environment}
    shared.pop("TORCHELASTIC_USE_AGENT_STORE", None)
    command = [sys.executable, "-c", SCRIPT, json.dumps(jobs)]
    return [
        subprocess.Popen(
            command,
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(count)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def ended(processes: list[subprocess.Popen[str]], seconds: float = 900) -> list[tuple[int, str]]:
    """Wait for processes; return exit status and stderr of each. Those that still run after the time are killed."""
    with contextlib.ExitStack() as stack:
        for each in processes:
            stack.enter_context(each)
            stack.callback(each.kill)
        texts = [each.communicate(timeout=seconds)[1] for each in processes]
        return [(each.returncode, text) for each, text in zip(processes, texts, strict=True)]


def records(folder: Path, key: str) -> list[dict[str, Any]]:
    """Return the records of a run's log that have a key."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [record for record in lines if key in record]
