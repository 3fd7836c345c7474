"""Computations that two processes divide give the results of one, to the bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from builders.training.engine.matrices import Moving, MuonSettings, move_matrices
from builders.training.engine.shares import _owners, in_shares
from tests.helpers.paths import ROOT

#: Shapes of matrices: of several batches, and of one, of which a process computes nothing.
CASES = [[(6, 20), (20, 6), (6, 20), (4, 4), (20, 6), (5, 1)], [(3, 7)]]
SCRIPT = """
import torch
from torch import distributed
from builders.training.engine import matrices
from tests.builders.training.engine.test_shares import CASES, moved
distributed.init_process_group("gloo")
computed, real = [], matrices._orthogonal
matrices._orthogonal = lambda found, settings: computed.append(found[0].shape) or real(found, settings)
results = [moved(case) for case in CASES]
torch.save((results, computed), f"{distributed.get_rank()}.pt")
distributed.destroy_process_group()
"""


def moved(shapes: list[tuple[int, int]]) -> list[torch.Tensor]:
    """Return weights and momenta after two steps."""
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(shape, generator=generator) for shape in shapes]
    momenta = [torch.zeros(shape) for shape in shapes]
    settings = MuonSettings(0.1, 0.1, 0.9, True, (3.4445, -4.775, 2.0315), 5, 1e-7, None)
    for _ in range(2):
        gradients = [torch.randn(shape, generator=generator) for shape in shapes]
        move_matrices([Moving(*each) for each in zip(weights, gradients, momenta, strict=True)], settings)
    return weights + momenta


def test_two_processes_move_matrices_as_one(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    expected = [moved(case) for case in CASES]
    shapes = []
    for rank in range(2):
        results, computed = torch.load(tmp_path / f"{rank}.pt")
        for mine, theirs in zip(results, expected, strict=True):
            assert len(mine) == len(theirs) and all(map(torch.equal, mine, theirs))
        shapes.append([tuple(shape) for shape in computed])
    # By step: the larger batches first, each to the process with less to do; the last case needs one process.
    assert shapes == [[(6, 20), (4, 4)] * 2 + [(3, 7)] * 2, [(20, 6), (5, 1)] * 2 + [(3, 7)] * 2]


def test_one_process_computes_items_when_they_are_asked_for() -> None:
    computed: list[int] = []

    def compute(item: int) -> torch.Tensor:
        computed.append(item)
        return torch.tensor([float(item)])

    results = in_shares([1, 2], [(1,), (1,)], [1.0, 1.0], compute)
    assert next(results).item() == 1 and computed == [1]


@pytest.mark.parametrize(
    ("costs", "processes", "owners"),
    [
        ([1, 5, 2, 2], 2, [1, 0, 1, 1]),
        ([3, 3, 3], 3, [0, 1, 2]),
        ([1, 2], 4, [1, 0]),
        ([4, 1, 1, 1, 1], 2, [0, 1, 1, 1, 1]),
    ],
)
def test_costs_are_even(costs: list[float], processes: int, owners: list[int]) -> None:
    assert _owners(costs, processes) == owners
