"""``process.prediction`` in entries, and what it allows in the loss of a recipe."""

from __future__ import annotations

import pytest

from specs.default_recipe import default_recipe
from specs.errors import SpecError
from specs.expanded_yaml import expanded_yaml
from specs.load import load_entry
from specs.recipe import load_recipe


def test_a_prediction_is_part_of_the_process_and_its_hash():
    plain = load_entry("mdm-micro").graph
    assert load_entry("mdm-micro", overrides=["process.prediction=v"]).graph.hash == plain.hash
    found = {kind: load_entry("mdm-micro", overrides=[f"process.prediction={kind}"]).graph for kind in
             ("eps", "x", "flow")}  # fmt: skip
    assert len({plain.hash, *(graph.hash for graph in found.values())}) == 4
    assert all(graph.graph_hash == plain.graph_hash for graph in found.values())
    assert "prediction: flow" in expanded_yaml(found["flow"])
    with pytest.raises(SpecError, match="prediction"):
        load_entry("mdm-micro", overrides=["process.prediction=score"])


@pytest.fixture
def entry(tmp_path):
    """The path of an entry that predicts eps."""
    path = tmp_path / "noisy.yaml"
    path.write_text("name: noisy\nextends: mdm-micro\nprocess: {prediction: eps}\n")
    return path


def test_the_error_of_eps_is_bounded_in_eps_alone(entry):
    for space in ("v", "flow"):
        with pytest.raises(SpecError, match=rf"noisy predicts eps: .* error in {space} has no bound; set 'space: eps'"):
            load_recipe("micro-test", [f"entry={entry}", f"loss={{space: {space}, weighting: none}}"])
    load_recipe("micro-test", [f"entry={entry}", "loss={space: eps, weighting: min_snr}"])
    assert default_recipe(str(entry), "noto-emoji-64").loss.space == "eps"
    assert default_recipe("mdm-micro", "noto-emoji-64").loss.space == "v"


@pytest.mark.parametrize("space", ["v", "flow"])
def test_weightings_are_for_the_eps_space(space):
    with pytest.raises(SpecError, match="weighting 'min_snr' is defined for the eps space"):
        load_recipe("micro-test", [f"loss={{space: {space}, weighting: min_snr}}"])


def test_a_residual_is_part_of_the_process_and_its_hash():
    plain = load_entry("mdm-micro").graph
    found = load_entry("mdm-micro", overrides=["process.residual=0.15"]).graph
    assert found.process.residual == 0.15 and found.graph_hash == plain.graph_hash and found.hash != plain.hash
    assert "residual: 0.15" in expanded_yaml(found)


def test_residuals_by_level_are_written_in_the_order_of_the_levels():
    found = load_entry("mdm-nano", overrides=["process.residual={r32: 0.2, r64: 0.1}"]).graph
    assert found.process.residual == (("r64", 0.1), ("r32", 0.2))
    assert found.process.shown_residual == "r64 0.1, r32 0.2"
    assert [found.process.residual_of(label) for label in found.labels] == [0.1, 0.2, None]
    text = expanded_yaml(found)
    assert "residual: {r64: 0.1, r32: 0.2}" in text
    swapped = load_entry("mdm-nano", overrides=["process.residual={r64: 0.1, r32: 0.2}"]).graph
    assert swapped.hash == found.hash != load_entry("mdm-nano", overrides=["process.residual=0.1"]).graph.hash


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["process={residual: 0.1, prediction: flow}"], "'residual' needs 'prediction: v', not 'flow'"),
        (["process.residual=0"], "the residual is from 0.001 to 1"),
        (["process.residual=1.5"], "the residual is from 0.001 to 1"),
        (["process.residual={r16: 0.2}", "process.prediction=x"], "'residual' needs 'prediction: v', not 'x'"),
        (["process.residual={r8: 0.2}"], "'r8' is no level around another one; those are r16"),
        (["process.residual={r16: 2}"], "the residual of r16 is from 0.001 to 1"),
        (["process.residual={r16: much}"], "the residual of r16 is a standard deviation such as 0.15"),
        (["process.residual=much"], "the residual is a standard deviation such as 0.15"),
        (["process.residual=true"], "the residual is a standard deviation such as 0.15"),
        (["process.residual={}"], "a residual by level names at least one level; or leave it out"),
        (["nest=null", "process.residual=0.1"], "'residual' changes nothing in an entry of one level: remove it"),
    ],
)
def test_residuals_that_do_not_fit(changes, message):
    with pytest.raises(SpecError, match=message):
        load_entry("mdm-micro", overrides=changes)
