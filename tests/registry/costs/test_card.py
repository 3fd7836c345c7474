"""The numbers on an entry's card, and the sums they are."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from registry.costs.card import Card, make_card
from registry.costs.memory import activation_memory
from registry.costs.sampling import SamplingCost, sampling_cost
from registry.costs.totals import count
from registry.costs.units import short
from specs.blocks import Size
from specs.graph import MicroInput, Process, TextInput, stage_sizes
from specs.load import load_text
from tests.helpers.graphs import node, plain_entry, plain_level, rich_entry

GRAPH = rich_entry(summary="a test", process=Process(steps=100, shift=0.5))


def printed(card: Card) -> list[str]:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(card)
    return console.export_text().splitlines()


def test_an_entrys_numbers():
    card, total = make_card(GRAPH), count(GRAPH).total
    assert (card.name, card.summary, card.resolution) == ("rich", "a test", 8)
    assert (card.hash, card.graph_hash) == (GRAPH.hash, GRAPH.graph_hash) and card.hash != card.graph_hash
    assert card.parameters == total.parameters
    # With its prompt; two FLOPs a multiply-add, twice as many more for both sides of the backward pass.
    assert card.macs == total.macs + total.encode_macs and total.encode_macs > 0
    assert card.flops == 2 * card.macs and card.training_flops == 3 * card.flops
    assert card.step_flops == 2 * total.macs
    assert card.memory == activation_memory(GRAPH)[0]
    assert card.sampling is None


def test_a_levels_numbers():
    card, costs = make_card(GRAPH), count(GRAPH)
    memory = activation_memory(GRAPH)[1]
    assert [row.label for row in card.levels] == ["r8", "r4"] and [row.resolution for row in card.levels] == [8, 4]
    for row, level in zip(card.levels, costs.levels, strict=True):
        assert row.graph_hash == GRAPH.graph_hashes[row.label]
        assert row.parameters == level.total.parameters and row.memory == memory[row.label]
        assert row.macs == level.total.macs + level.total.encode_macs and row.flops == 2 * row.macs
        assert row.step_flops == 2 * level.total.macs
        assert row.share == row.flops / card.flops
    assert sum(row.share for row in card.levels) == pytest.approx(1)


def test_stages_of_an_outer_level():
    """Embeddings first, then from fine to coarse; the nest last, before the level that it holds."""
    outer = make_card(GRAPH).levels[0]
    assert [(row.name, row.resolution, row.widths, row.blocks) for row in outer.stages] == [
        ("embeddings", None, (16,), (("time", 1), ("micro", 2))),
        # Of stem 4, head 3, conv 6, up 6 and conv 12 the convolutions are what the stage is described by.
        ("8 px", 8, (6, 12), (("stem", 1), ("head", 1), ("conv", 2), ("up", 1))),
        ("4 px", 4, (10,), (("down", 1),)),
        ("nest", 4, (10,), (("nest", 1),)),
    ]
    parts = {part.name: part.costs for part in count(GRAPH).levels[0].parts}
    groups = [("time", "micro_scale", "micro_crop"), ("stem", "head", "a", "u", "b"), ("d",), ("nest",)]
    for row, names in zip(outer.stages, groups, strict=True):
        costs = [parts[name] for name in names]
        assert row.parameters == sum(each.parameters for each in costs)
        assert row.macs == sum(each.macs + each.encode_macs for each in costs)
        assert row.flops == 2 * row.macs


def test_stages_of_the_innermost_level():
    inner = make_card(GRAPH).levels[1]
    assert [(row.name, row.resolution, row.widths, row.blocks) for row in inner.stages] == [
        ("inputs", None, (3, 16), (("text", 1), ("classes", 1))),
        ("embeddings", None, (16,), (("time", 1), ("micro", 1))),
        ("4 px", 4, (8,), (("stem", 1), ("head", 1), ("resnet", 1), ("attention", 1), ("conv", 1))),
    ]


def test_a_stage_of_nothing_but_a_stem_and_a_head_has_their_widths():
    (row,) = (row for row in make_card(plain_entry(8)).levels[0].stages if row.resolution)
    assert row.widths == (3, 4)


def test_stages_go_from_fine_to_coarse_whatever_the_order_of_nodes():
    level = plain_level(
        8,
        node("d", "down", 4, "stem"),
        node("e", "down", 4, "d"),
        node("u", "up", 4, "e"),
        node("v", "up", 4, "u"),
        head="v",
    )
    graph = plain_entry(8)
    graph = type(graph)("plain", (level,), time_width=16)
    assert [row.resolution for row in make_card(graph).levels[0].stages] == [None, 8, 4, 2]


def test_the_nest_comes_last_even_where_a_level_goes_deeper():
    outer = plain_level(8, node("nest", "nest", 4, "stem"), node("d", "down", 4, "nest"), head="d")
    graph = type(GRAPH)("deep", (outer, plain_level(8, label="inner")), time_width=16)
    assert [row.name for row in make_card(graph).levels[0].stages] == ["embeddings", "8 px", "4 px", "nest"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "none"),
        ({"classes": 9}, "9 classes"),
        ({"text": TextInput(7, 5)}, "text (5 tokens of 7)"),
        ({"text": TextInput(7, 5, project=3)}, "text (5 tokens of 7 projected to 3)"),
        ({"text": TextInput(7, 5), "classes": 4}, "text (5 tokens of 7), 4 classes"),
    ],
)
def test_conditions_in_words(changes, text):
    assert make_card(plain_entry(8, **changes)).conditioning == text


def test_micro_inputs_are_named_once():
    assert make_card(rich_entry(text=None)).conditioning == "9 classes, scale, crop"
    level = plain_level(8, micro=(MicroInput("scale", 1.0),))
    assert make_card(type(GRAPH)("one", (level,), time_width=16)).conditioning == "scale"


def test_processes_in_words():
    assert make_card(GRAPH).process == "cosine, 100 steps, v prediction, shift 0.5"
    assert make_card(plain_entry(8, process=Process("linear"))).process == "linear, 1000 steps, v prediction"
    based = make_card(plain_entry(8, process=Process(shift=2, base=4))).process
    assert based == "cosine, 1000 steps, v prediction, shift 2 from 4 pixels"


@pytest.mark.parametrize("steps", [1, 2, 50])
def test_sampling_encodes_once_and_guidance_doubles(steps):
    card, total = make_card(GRAPH), count(GRAPH).total
    plain = 2 * (steps * total.macs + total.encode_macs)
    assert card.sampling_flops(steps) == card.sampling_flops(steps, guided=False) == plain
    assert card.sampling_flops(steps, guided=True) == 2 * plain


def test_a_card_as_data():
    card = make_card(GRAPH, sampling_cost(GRAPH, num_inference_steps=3))
    data = card.as_dict()
    assert data["levels"][1]["stages"][0]["name"] == "inputs" and data["sampling"]["evaluations"] == 3
    assert data["parameters"] == card.parameters and data["memory"]["training"] == card.memory.training


def test_the_printed_card_shows_the_numbers():
    card = make_card(GRAPH)
    lines = printed(card)
    assert "rich" in lines[0] and "a test" in lines[0]
    (whole,) = (line for line in lines if "whole network" in line)
    assert whole.split()[-1] == "%" and whole.split()[-2] == "100.0"
    assert f"{card.parameters:,}" in whole
    for level in card.levels:
        (line,) = (line for line in lines if f"{level.label}  {level.resolution} x {level.resolution} pixels" in line)
        assert f"{level.parameters:,}" in line and f"{100 * level.share:.1f} %" in line
    rows = [line.replace("│", "").replace("├──", "").replace("└──", "").strip() for line in lines]
    (row,) = (row for row in rows if row.startswith("8 px, width 6/12: 2 conv"))
    stage = card.levels[0].stages[1]
    assert f"{stage.parameters:,}" in row and f"{100 * stage.flops / card.flops:.1f} %" in row
    assert [row.split("  ")[0] for row in rows if row.startswith(("time", "text", "nest", "4 px"))] == [
        "time, 2 micro",
        "4 px, width 10:",
        "nest at 4 px",
        "text, classes",
        "time, micro",
        "4 px, width 8: resnet, attention, conv",
    ]


CONDITIONED = plain_entry(8, 4, text=TextInput(7, 5), process=Process(steps=100))
TOTAL = count(CONDITIONED).total


@pytest.mark.parametrize(
    ("settings", "evaluations", "encodings", "scale"),
    [
        ({}, 50, 1, 1.0),
        ({"num_inference_steps": 1}, 1, 1, 1.0),
        ({"num_inference_steps": 100}, 100, 1, 1.0),
        ({"guidance_scale": 0.0, "num_inference_steps": 10}, 10, 1, 0.0),
        ({"guidance_scale": 3.0, "num_inference_steps": 10}, 20, 2, 3.0),
        ({"guidance_scale": 0.5, "num_inference_steps": 10}, 20, 2, 0.5),
        # The steps start at 100, 90, ... 10 of 100: those from 30 to 70, both included, take two passes.
        ({"guidance_scale": 3.0, "num_inference_steps": 10, "guidance_interval": (0.3, 0.7)}, 15, 2, 3.0),
        ({"guidance_scale": 3.0, "num_inference_steps": 10, "guidance_interval": (0.31, 0.69)}, 13, 2, 3.0),
        ({"guidance_scale": 3.0, "num_inference_steps": 10, "guidance_interval": (1.0, 1.0)}, 11, 2, 3.0),
        ({"guidance_scale": 3.0, "num_inference_steps": 10, "guidance_interval": (0.0, 0.05)}, 10, 2, 3.0),
    ],
)
@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm++"])
def test_what_a_sample_costs(sampler, settings, evaluations, encodings, scale):
    found = sampling_cost(CONDITIONED, sampler, **settings)
    steps = settings.get("num_inference_steps", 50)
    flops = 2 * (evaluations * TOTAL.macs + encodings * TOTAL.encode_macs)
    assert TOTAL.encode_macs > 0
    assert found == SamplingCost(sampler, steps, scale, evaluations, flops)


def test_the_sampler_is_ddim_by_default():
    assert sampling_cost(CONDITIONED) == sampling_cost(CONDITIONED, "ddim", 50, 1.0, (0.0, 1.0))


def test_what_guides_a_sample():
    """Text or classes; an entry without them is sampled without guidance."""
    assert sampling_cost(plain_entry(8, classes=3), "ddim", 10, 2.0).evaluations == 20
    found = sampling_cost(plain_entry(8), "ddim", 10, 2.0)
    assert (found.evaluations, found.guidance_scale) == (10, 1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampler": "ddin"}, "'ddim', 'ddpm' or 'dpm.*not the text 'ddin'; did you mean 'ddim'"),
        ({"num_inference_steps": 0}, "not 0"),
        ({"num_inference_steps": 101}, "not 101"),
        ({"guidance_scale": float("inf")}, "'guidance_scale'.*finite number"),
        ({"guidance_scale": float("nan")}, "'guidance_scale'.*finite number"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        sampling_cost(CONDITIONED, **settings)


CLIPS = """
name: clips
resolution: 16
frames: 4
stages: {r16f4: {width: 32}, r8f2: {width: 32, temporal: 1}, r8f1: {width: 64}}
nest: {resolution: 8, stages: {r8: {width: 32}}}
"""


def test_stages_in_time_are_rows_of_their_own():
    """A step in both is no stage: its first half counts with the stage that it leads to."""
    graph = load_text(CLIPS).graph
    card = make_card(graph)
    assert (card.frames, [level.frames for level in card.levels]) == (4, [4, 1])
    outer = card.levels[0]
    assert [(row.name, row.resolution, row.frames) for row in outer.stages] == [
        ("embeddings", None, None),
        ("16 px, 4 frames", 16, 4),
        ("8 px, 2 frames", 8, 2),
        ("8 px", 8, 1),
        ("nest", 8, 1),
    ]
    blocks = dict(outer.stages[2].blocks)
    assert blocks == {"down": 1, "time_down": 1, "resnet": 3, "temporal_attention": 3, "time_up": 1}
    assert sum(row.parameters for row in outer.stages) == outer.parameters
    lines = printed(card)
    assert any("r16f4  16 x 16 pixels, 4 frames" in line for line in lines)
    assert any("8 px, 2 frames, width 32: 3 resnet, 3 temporal_attention " in line for line in lines)
    assert "r16f4, 16 px, 4 frames" in card._repr_html_() and card.as_dict()["levels"][1]["frames"] == 1


def test_stages_of_resampling_that_is_read_twice():
    """What another node reads as well is a feature map of its own size."""
    text = """
name: x
resolution: 8
frames: 4
graph:
  stem: {width: 32}
  small: {block: down, from: stem}
  short: {block: time_down, from: small}
  a: {block: conv, from: [small, {time_up: short}], merge: add}
  b: {block: up, from: a}
  head: {from: b}
"""
    sizes = stage_sizes(load_text(text).graph.levels[0])
    assert sizes["small"] == Size(4, 4) and sizes["short"] == Size(4, 2) and sizes["a_time_up"] == Size(4, 4)


def test_a_card_in_a_notebook():
    card = make_card(GRAPH)
    outer, inner = card.levels

    def numbers(row):
        share = 100 * row.flops / card.flops
        values = (f"{row.parameters:,}", short(row.macs), short(row.flops), f"{share:.1f} %")
        return "".join(f"<td>{value}</td>" for value in values)

    facts = "Inputs: text (5 tokens of 7 projected to 3), 9 classes, scale, crop."
    note = f"{facts} Process: cosine, 100 steps, v prediction, shift 0.5. Hash {GRAPH.hash}."
    assert card._repr_html_().splitlines() == [
        "<div><strong>rich</strong>",
        f"<div>a test {note}</div>",
        "<table>",
        "<tr><th></th><th>parameters</th><th>MACs</th><th>FLOPs</th><th>share</th></tr>",
        f"<tr><td>whole network</td>{numbers(card)}</tr>",
        f"<tr><td>r8, 8 px</td>{numbers(outer)}</tr>",
        f"<tr><td>r4, 4 px</td>{numbers(inner)}</tr>",
        "</table></div>",
    ]
    assert f"<div>{note}</div>" in make_card(replace(GRAPH, summary=""))._repr_html_()
