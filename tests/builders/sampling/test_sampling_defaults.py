"""Defaults of sampler settings: they fit the process and the training of a network."""

from __future__ import annotations

import pytest

from builders.sampling.defaults import UntrainedGuidanceWarning, fit_settings, guidance_note
from registry.costs.sampling import sampling_cost
from registry.evaluation.evaluate import fitted_spec
from registry.studies import StudyError, check_study
from specs.errors import SpecError
from specs.load import load_text
from specs.recipe import recipe_of_tree
from specs.schemas.evaluation import EvaluationSpec
from specs.schemas.sampling import SamplerSettings, SamplerSpec
from specs.schemas.study import Study
from specs.syntax.yaml_tree import parse_text

INPUTS = {"": "{}", "classes": "{classes: 3}", "text": "{text: {width: 8, tokens: 4}}"}
INPUTS["both"] = "{classes: 3, text: {width: 8, tokens: 4}}"


def graph(inputs="", steps=20):
    facts = ("name: few", "resolution: 8", f"inputs: {INPUTS[inputs]}", f"process: {{steps: {steps}}}")
    return load_text("\n".join((*facts, "stages: {r8: {width: 32}}"))).graph


@pytest.mark.parametrize(("steps", "expected"), [(1, 1), (20, 20), (49, 49), (50, 50), (1000, 50)])
def test_the_default_is_at_most_the_steps_of_the_process(steps, expected):
    for settings in (SamplerSettings(), SamplerSpec(), EvaluationSpec(samples=3)):
        fitted = settings.fitted(steps)
        assert fitted.num_inference_steps == expected and type(fitted) is type(settings)
        assert fitted.fitted(steps) is fitted
    assert sampling_cost(graph(steps=steps), "ddpm").num_inference_steps == expected


def test_more_steps_than_the_process_has_are_refused():
    assert SamplerSettings(num_inference_steps=20).fitted(20).num_inference_steps == 20
    message = r"num_inference_steps must be from 1 to 20, not 21: the process has 20 steps \(option --steps\)"
    with pytest.raises(ValueError, match=message):
        SamplerSettings(num_inference_steps=21).fitted(20)
    with pytest.raises(ValueError, match="from 1 to 1, not 50: the process has 1 step "):
        fit_settings(SamplerSpec(num_inference_steps=50), graph(steps=1))
    with pytest.raises(ValueError, match="from 1 to 20, not 50"):
        sampling_cost(graph(), num_inference_steps=50)


DROPS = [
    ("classes", {"classes": 0.1}, 2.0),
    ("classes", {"classes": 0.0}, 1.0),
    ("classes", {"classes": 1}, 1.0),
    ("classes", {"text": 0.0}, 2.0),
    ("classes", None, 2.0),
    ("classes", [0], 2.0),
    ("classes", {"classes": "0"}, 2.0),
    ("text", {"text": 0, "classes": 0.1}, 1.0),
    ("text", {"text": 0.5, "classes": 0}, 2.0),
    ("both", {"text": 0.1, "classes": 0.1}, 2.0),
    ("both", {"text": 0.1, "classes": 0.0}, 1.0),
    ("", {"classes": 0.1}, 1.0),
    ("", None, 1.0),
]


@pytest.mark.parametrize(("inputs", "drop", "scale"), DROPS)
def test_guidance_is_1_by_default_where_it_is_not_trained(inputs, drop, scale):
    entry = graph(inputs)
    assert fit_settings(SamplerSpec(), entry, drop, guidance=2.0).guidance_scale == scale
    assert fit_settings(SamplerSpec(), entry, drop).guidance_scale == 1
    assert fit_settings(SamplerSpec(guidance_scale=1), entry, drop, guidance=2.0).guidance_scale == 1
    asked = SamplerSpec(guidance_scale=3)
    if scale == 2:
        assert fit_settings(asked, entry, drop, guidance=2.0) == asked.fitted(20)
        return
    with pytest.warns(UntrainedGuidanceWarning, match="guidance 3 "):
        assert fit_settings(asked, entry, drop).guidance_scale == 3
    assert fit_settings(asked, entry, drop, warn=False).guidance_scale == 3


def test_notes_on_guidance():
    assert guidance_note(1, graph()) is None and guidance_note(2, graph("text")) is None
    assert guidance_note(2, graph()) == "guidance 2 has no effect: few has no classes and reads no text"
    reason = "guidance 0 uses a prediction that is not trained: few was never trained without its classes (drop: 0)"
    assert guidance_note(0, graph("classes"), {"classes": 0}) == f"{reason}; use guidance 1"
    alone = "few was trained without its classes alone (drop: 1)"
    note = f"guidance 2 uses a prediction that is not trained: {alone}; use guidance 1"
    assert guidance_note(2, graph("classes"), {"classes": 1}) == note


@pytest.mark.parametrize(
    "recipe", ["", "[]", "null", "3", '{"drop": []}', '{"drop": {"classes": null}}', "{" * 100_000]
)
def test_metadata_of_any_shape(recipe):
    spec, note = fitted_spec(EvaluationSpec(guidance_scale=2), graph("classes"), {"recipe": recipe})
    assert spec.num_inference_steps == 20 and note is None


def test_a_measurement_notes_untrained_guidance():
    metadata = {"recipe": '{"drop": {"classes": 0.0}}'}
    spec, note = fitted_spec(EvaluationSpec(guidance_scale=2), graph("classes"), metadata)
    assert spec.guidance_scale == 2 and "never trained without its classes" in note
    assert fitted_spec(EvaluationSpec(), graph("classes"), metadata)[1] is None


RECIPE = """name: r
entry: {entry}
data: noto-emoji-64
phases: {{p8: {{train: r8, steps: 1, batch: 1}}}}
"""


def test_a_recipe_takes_at_most_the_steps_of_its_process(tmp_path):
    path = tmp_path / "few.yaml"
    path.write_text("name: few\nresolution: 8\nprocess: {steps: 20}\nstages: {r8: {width: 32}}\n")
    text = RECIPE.format(entry=path)
    recipe, _ = recipe_of_tree(parse_text(text, "r.yaml"))
    assert recipe.evaluation.num_inference_steps == 20 and recipe.evaluation.samples == 1000
    text += "evaluation:\n  num_inference_steps: 21\n"
    with pytest.raises(
        SpecError, match=r"r.yaml:6:24: error\[out-of-range\]: num_inference_steps must be from 1 to 20"
    ):
        recipe_of_tree(parse_text(text, "r.yaml"))


def test_a_study_takes_at_most_the_steps_of_its_entries():
    facts = {"name": "s", "data": "noto-emoji-64", "entries": ["few"], "budget": {"training_flops": 1e9}}
    check_study(Study.model_validate(facts), [graph()])
    study = Study.model_validate(facts | {"evaluation": {"num_inference_steps": 50}})
    with pytest.raises(StudyError, match="few: evaluation: num_inference_steps must be from 1 to 20"):
        check_study(study, [graph(), graph(steps=50)])
