"""Peak memory of training steps of a full-size entry in one process, beside the plan of the same recipe.

A step is that of ``zoo train``: float32 weights, their EMA, gradients, AdamW with both moments, random images and text.
From the second step on, all of them are there at once; the peak is that of the process (VmHWM), libraries included.

    OMP_NUM_THREADS=2 python benchmarks/full_size_step.py
    python benchmarks/full_size_step.py --entry mdm-s64 --rows 2 --checkpoint
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any

import torch

from builders.training.batches import make_batch
from builders.training.distributed import Processes
from builders.training.phase import Phase
from builders.training.settings import phase_settings
from registry.costs.requirements import phase_memory
from specs.load import load_entry
from specs.schemas.recipe import Recipe

GIB = 2**30


def peak_bytes() -> int:
    """Return the largest resident memory of this process so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def random_batch(graph: Any, rows: int) -> Any:
    """Return a batch of random images or clips, with random classes and empty captions."""
    size = graph.size
    drawn = {
        "image": torch.rand(rows, graph.levels[0].channels, *size.shape) * 2 - 1,
        "classes": torch.zeros(rows, dtype=torch.long),
        "caption": [""] * rows,
        "key": [str(row) for row in range(rows)],
        "scale": torch.full((rows,), float(size.side)),
    }
    return make_batch(graph, drawn, torch.full((rows,), 500), torch.Generator().manual_seed(0))


def main() -> None:
    """Take steps, and print the peak after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entry", default="mdm-s256", help="Name of an entry.")
    parser.add_argument("--rows", type=int, default=1, help="Rows of every level.")
    parser.add_argument("--steps", type=int, default=2, help="Training steps.")
    parser.add_argument("--checkpoint", nargs="*", default=None, help="Levels to checkpoint. Default: all.")
    options = parser.parse_args()
    graph = load_entry(options.entry).graph
    labels = list(graph.labels) if options.checkpoint is None else options.checkpoint
    phase_spec = {"train": graph.labels[0], "steps": 1000, "batch": options.rows, "memory": {"checkpoint": labels}}
    recipe = Recipe.model_validate(
        {"name": "b", "entry": options.entry, "data": "noise", "precision": "float32", "phases": {"p": phase_spec}}
    )
    started = peak_bytes()
    rule = phase_memory(recipe, graph, "p")
    print(f"{options.entry}, {options.rows} rows, checkpointed: {', '.join(labels) or 'none'}, {torch.__version__}")
    print(f"plan: {rule.peak / GIB:.2f} GiB, of which state {rule.state / GIB:.2f}; libraries {started / GIB:.2f} GiB")
    phase = Phase(phase_settings(recipe, graph, "p"), Processes("cpu", "float32"))
    print(f"weights, EMA and optimizer are built: peak {peak_bytes() / GIB:.2f} GiB", flush=True)
    encoder: Any = None
    if graph.text is not None:
        width, tokens = graph.text.width, graph.text.tokens
        text = torch.randn(1, tokens, width), torch.ones(1, tokens, dtype=torch.bool)
        encoder = lambda captions: tuple(each.expand(len(captions), *each.shape[1:]) for each in text)  # noqa: E731
    batch = random_batch(graph, options.rows)
    for step in range(options.steps):
        began = time.process_time()
        found = phase.step(step, batch, encoder=encoder)
        assert found.updated
        spent, peak = time.process_time() - began, peak_bytes() / GIB
        print(f"step {step + 1}: {spent:.1f} CPU seconds, peak {peak:.2f} GiB", flush=True)


if __name__ == "__main__":
    main()
