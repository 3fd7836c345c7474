"""Keys and values for MLflow, made of any text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.tracking.run_facts import training_params
from registry.tracking.valid_names import MAX_TEXT, phase_key, valid_key, valid_text
from tests.helpers.tracking_stores import facts


@pytest.mark.parametrize("name", ["phases.p16.train", "loss/r16", "phase/p 1.level", "naïve"])
def test_valid_names_stay(name):
    assert valid_key(name) == name


@settings(deadline=None)  # it imports MLflow
@given(st.lists(st.text(max_size=300), unique=True, max_size=4))
def test_every_name_becomes_a_key_that_mlflow_accepts(names):
    from mlflow.utils.validation import _validate_param_name

    keys = [valid_key(name) for name in names]
    assert len(set(keys)) == len(names)
    for key in keys:
        _validate_param_name(key)
        assert 0 < len(key) <= 250 and key.encode()


@given(st.text(st.characters(), max_size=50))
def test_every_text_can_be_stored(text):
    assert b"\0" not in valid_text(text).encode()
    assert len(valid_text(text * 400)) <= MAX_TEXT


def test_bytes_that_are_no_text():
    assert valid_text("a\udcffb") == "a\\udcffb"
    assert valid_text("x" * 600) == "x" * 600 and valid_text("abcdef", 5) == "ab..."


def test_params_of_a_mixture(tmp_path):
    run = facts(tmp_path)
    data = {"/a/it's*.tar": 0.5, "/a/it's?.tar": 0.25, "b" * 300: 0.25}
    params = training_params(run.__class__(run.recipe.model_copy(update={"data": data}), *_rest(run)))
    assert [params[valid_key(f"data.{name}")] for name in data] == ["0.5", "0.25", "0.25"]


def _rest(run):
    return run.graph, run.folder, run.total_steps, run.first_step, run.device, run.data


@pytest.mark.parametrize("name", ["p16", "", "../../x", "a/b", "a[1](2)+\u732b\x1b|", "x" * 400, ".", "a//b "])
def test_phases(name: str) -> None:
    from mlflow.utils.validation import _validate_tag_name

    key = phase_key(name, [name])
    assert key == "phase/p16" or name != "p16"
    _validate_tag_name(f"{key}.first_step")
