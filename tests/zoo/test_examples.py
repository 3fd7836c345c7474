"""The examples run as they are."""

from __future__ import annotations

import runpy

import pytest

from builders.blocks import MODULES
from specs.blocks import BLOCKS
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.usefixtures("light_measures")

#: Text that each example prints.
PRINTED = {
    "add_a_block": "711,523 parameters, 258,371,584 MACs",
    "compare_entries": "by FLOPs: doll-n32, flat-n32",
    "train_on_images": "samples: ",
    "write_a_model": "(2, 3, 16, 16)",
}


def test_every_example_is_run():
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(PRINTED)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name == "compare_entries")) for name in PRINTED],
)
def test_examples(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    for table in (BLOCKS, MODULES):  # removes the block of the example afterwards
        monkeypatch.setitem(table, "gated_conv", None)
    runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
    assert PRINTED[name] in capsys.readouterr().out
