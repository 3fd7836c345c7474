"""Files of results of a study."""

from __future__ import annotations

import pytest

from registry.study_runs.results import (
    Curve,
    RunKey,
    RunResult,
    picture_path,
    read_results,
    result_path,
    save_result,
)


def test_a_result_survives_its_file(tmp_path):
    curve = Curve(steps=(1, 2), flops=(1e9, 2e9), seconds=(0.5, 1.0), values=(0.5, 0.25))
    one = RunResult(study="A", arm="flat", seed=3, measures={"p1": 1 / 3}, curves={"val_v_loss/r32": curve})
    other = RunResult(study="A", arm="flat", seed=100, searched=2, setting=4e-3, status="failed", failure="NaN")
    assert save_result(one, tmp_path).name == "flat-s3.json"
    assert save_result(other, tmp_path).name == "flat-v2-s100.json"
    assert read_results(tmp_path) == (one, other)
    absent = RunKey(arm="flat", seed=4)
    assert read_results(tmp_path, [other.key, absent, one.key]) == (other, one)


@pytest.mark.parametrize("name", ["", "..", "a/b.png", "/b.png", "b\0.png"])
def test_a_picture_is_in_the_folder_of_its_result(name, tmp_path):
    result = RunResult(study="A", arm="flat", seed=3, samples="flat-s3.png")
    assert picture_path(result, tmp_path) == tmp_path / "flat-s3.png"
    assert picture_path(result.model_copy(update={"samples": name}), tmp_path) is None


def test_values_that_are_not_finite_are_not_stored(tmp_path):
    with pytest.raises(ValueError, match="p1 is not finite"):
        save_result(RunResult(study="A", arm="flat", seed=3, measures={"p1": float("nan")}), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["{}", "no", '{"study": "A", "arm": "b", "seed": 1, "colour": 3}'])
def test_another_file_is_one_message(tmp_path, text):
    path = result_path(RunKey(arm="b", seed=1), tmp_path)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"b-s1\.json: not the result of a run"):
        read_results(tmp_path)


def test_curves_have_one_length():
    with pytest.raises(ValueError, match="one length"):
        Curve(steps=(1,), values=())
