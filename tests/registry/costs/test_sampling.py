"""What a sample costs, against the evaluations and FLOPs of samples that are really drawn."""

from __future__ import annotations

import pytest
import torch

import zoo
from builders.sampling.generation import Request, SamplerSettings, draw_all
from registry.costs.sampling import SAMPLERS, sampling_cost
from tests.helpers.counters import flop_counter


def test_every_sampler_has_a_step():
    from builders.sampling.sampler import STEPS

    assert set(SAMPLERS) == set(STEPS)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm++"])
@pytest.mark.parametrize(("guidance", "evaluations"), [(1.0, 4), (0.0, 4), (3.0, 8)])
def test_what_is_drawn_costs_what_is_said(sampler, guidance, evaluations):
    model = zoo.build("mdm-micro").eval()
    rows = []
    model.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0][0])))
    with flop_counter() as counted:
        draw_all(model, Request((0,), classes=(1,)), SamplerSettings(sampler, 4, guidance))
    found = sampling_cost(zoo.get("mdm-micro").architecture, sampler, 4, guidance)
    assert (found.evaluations, sum(rows)) == (evaluations, evaluations)
    assert found.flops == counted.get_total_flops()


def test_text_is_encoded_once_with_and_once_without():
    graph = zoo.get("mdm-nano.text").architecture
    model = zoo.build("mdm-nano.text").eval()

    def encoder(prompts):
        return torch.zeros(len(prompts), graph.text.tokens, graph.text.width), torch.ones(1, graph.text.tokens).bool()

    with flop_counter() as counted:
        draw_all(model, Request((0,), prompts=("a",)), SamplerSettings("dpm++", 2, 2.0), encoder=encoder)
    found = sampling_cost(graph, "dpm++", 2, 2.0)
    assert found.evaluations == 4 and found.flops == counted.get_total_flops()


def test_guidance_in_a_part_of_the_time():
    graph = zoo.get("mdm-micro").architecture
    assert sampling_cost(graph, "ddim", 10, 2.0, (0.0, 0.5)).evaluations == 15
    assert sampling_cost(graph, "ddim", 10, 2.0, (0.0, 1.0)).evaluations == 20
    assert sampling_cost(graph, "ddim", 100, 2.0, (0.03, 0.07)).evaluations == 105  # both ends, whatever the floats


def test_what_has_no_condition_cannot_be_guided(tmp_path):
    path = tmp_path / "plain.yaml"
    path.write_text("name: plain\nresolution: 16\nstages: {r16: {width: 32, depth: 1}}\n")
    entry = zoo.get(path)
    assert entry.card(guidance_scale=3.0).sampling == entry.card(num_inference_steps=50).sampling


def test_the_card_shows_what_was_asked_for():
    import io

    from rich.console import Console

    entry = zoo.get("mdm-s64")
    card = entry.card(sampler="dpm++", num_inference_steps=20, guidance_scale=3)
    assert entry.card().sampling is None and card.as_dict()["sampling"]["evaluations"] == 40
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(card)
    text = console.export_text()
    assert "(dpm++, 20 steps, guidance 3: 40 evaluations of the network)" in text and "(50 steps)" not in text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampler": "dpm"}, "'sampler' must be .*, not the text 'dpm'"),
        ({"num_inference_steps": 0}, "must be at least 1, not 0"),
        ({"num_inference_steps": 1001}, "from 1 to 1,000, not 1,001"),
        ({"guidance_scale": float("nan")}, "finite number"),
    ],
)
def test_mistakes(settings, message):
    with pytest.raises(ValueError, match=message):
        zoo.get("mdm-micro").card(**settings)
