"""The time that torch's threads poll for: set before torch is imported, and never in place of the user's setting."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT
from zoo import cli
from zoo.threads import SPINS, spin_briefly

NAMES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@pytest.fixture
def without_torch(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"GOMP_SPINCOUNT": str(SPINS)}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
        ({"OMP_NUM_THREADS": "1"}, {"GOMP_SPINCOUNT": str(SPINS)}),
    ],
)
def test_what_the_user_set_stays(without_torch, monkeypatch, given, expected):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    spin_briefly()
    assert {name: os.environ[name] for name in NAMES if name in os.environ} == expected


def test_nothing_is_set_after_torch_is_imported(without_torch, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", object())
    spin_briefly()
    assert "GOMP_SPINCOUNT" not in os.environ


def test_the_command_sets_it_first(without_torch, monkeypatch):
    seen = []
    monkeypatch.setattr(cli, "run", lambda arguments: seen.append(os.environ.get("GOMP_SPINCOUNT")) or 0)
    monkeypatch.setattr(cli, "open_streams", lambda: None)
    monkeypatch.setattr(cli, "discard_output", lambda: None)
    with pytest.raises(SystemExit):
        cli.main()
    assert seen == [str(SPINS)]


def test_training_from_python_sets_it_before_torch_is_imported():
    """A training that fails its last check before torch is imported."""
    code = """
import json, os, sys, zoo
try:
    zoo.train("micro-test", output=sys.executable)
except OSError:
    print(json.dumps([os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules]))
"""
    surroundings = {name: value for name, value in os.environ.items() if name not in NAMES}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [str(SPINS), False]
