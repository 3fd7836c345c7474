"""The set-up of the Makefile."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.helpers.paths import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.mark.parametrize("index", [None, "https://example.org/cpu"])
def test_torch_comes_from_another_index_on_request(index):
    words = ["make", "--dry-run", "--always-make", "install", *([] if index is None else [f"TORCH_INDEX={index}"])]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    installs = [line.partition(" -m pip ")[2] for line in done.stdout.splitlines() if " -m pip " in line]
    torch = [] if index is None else [f"install --quiet --index-url {index} torch torchvision"]
    assert installs == [*torch, "install --quiet --editable '.[dev]'"]
