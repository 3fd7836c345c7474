"""The examples run as they are."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT

#: Text that each example prints at its end.
PRINTED = {
    "add_a_block": "parameters,",
    "compare_entries": "by FLOPs: doll-n32, flat-n32",
    "train_on_images": "samples: ",
    "write_a_model": "(2, 3, 16, 16)",
}


def test_every_example_is_run():
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(PRINTED)


@pytest.mark.parametrize("name", PRINTED)
def test_examples(name, tmp_path):
    settings = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path), "MPLCONFIGDIR": str(tmp_path)}
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "ZOO"))} | settings
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py")]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert result.returncode == 0, result.stderr
    assert PRINTED[name] in result.stdout
