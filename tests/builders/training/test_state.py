"""The progress of a run as plain data."""

from __future__ import annotations

import json
import shutil

import pytest

from builders.checkpoints.tensor_file import CheckpointError, read_tensors, write_tensors
from builders.training.run_folder import RunFolder
from builders.training.state import RunProgress
from specs.recipe import load_recipe_and_graph
from tests.helpers.paths import GOLDEN


def test_progress_of_new_and_of_earlier_runs():
    new = RunProgress("a", step=3)
    assert new.noise == "rows" and new.facts()["noise"] == "rows" and new.facts()["reduced"] is True
    assert RunProgress.from_facts(new.facts()) == new and new.next_phase("b", 4).noise == "rows"
    old = RunProgress.from_facts({"phase": "a", "step": 3})
    assert old.noise == "batch" and old.next_phase("b", 4).noise == "batch"
    assert not old.reduced and not old.next_phase("b", 4).reduced and new.next_phase("b", 4).reduced
    # Readable by the version that wrote it.
    assert not {"noise", "reduced", "images_before"} & set(old.facts())


def test_random_numbers_of_a_newer_version_are_refused(tmp_path, monkeypatch):
    earlier = GOLDEN / "run-0.1"
    monkeypatch.setenv("ZOO_PATH", str(earlier / "zoo_path"))
    folder = tmp_path / "run"
    shutil.copytree(earlier / "run", folder)
    tensors, facts = read_tensors(folder / "state.safetensors")
    standing = json.loads(facts["standing"]) | {"noise": "pixels"}
    write_tensors(folder / "state.safetensors", tensors, facts | {"standing": json.dumps(standing)})
    newer = pytest.raises(CheckpointError, match="holds a run of a newer version of the zoo")
    with RunFolder(folder, *load_recipe_and_graph("tiny-run")) as run, newer:
        run.read_state()
