"""``process.base``: the size that noise schedules are shifted from, so that flat entries compare with nested ones."""

from __future__ import annotations

import math

import pytest
import torch

from builders.diffusion.process import DiffusionProcess
from specs.errors import SpecError
from specs.expanded_yaml import expanded_yaml
from specs.graph import EntryGraph, Process
from specs.load import load_entry, load_text
from specs.schemas.json_schema import json_schema
from tests.helpers.graphs import clip_entry, plain_entry

FLAT = "name: flat\nresolution: 16\ninputs: {classes: 3}\nstages:\n  r16: {width: 32}\n"


def flat(process: str) -> EntryGraph:
    """An entry of one level with a process."""
    return load_text(FLAT + f"process: {process}\n", "flat.yaml").graph


@pytest.mark.parametrize("shift", [1, 2, 0.5])
def test_a_flat_entry_gets_the_schedule_of_a_nested_one(shift):
    nested = DiffusionProcess(plain_entry(64, 32, 16, process=Process(shift=shift)))
    for level, side in enumerate((64, 32, 16)):
        (schedule,) = DiffusionProcess(plain_entry(side, process=Process(shift=shift, base=16))).schedules
        assert torch.equal(schedule, nested.schedules[level])
    (without,) = DiffusionProcess(plain_entry(64, process=Process(shift=shift))).schedules
    assert torch.equal(without, nested.schedules[2])


def test_ratios_are_relative_to_the_base():
    assert plain_entry(64, 32, 16).noise_ratios == (4, 2, 1)
    assert plain_entry(64, 32, 16, process=Process(base=8)).noise_ratios == (8, 4, 2)
    assert plain_entry(64, process=Process(base=16)).noise_ratios == (4,)


def test_a_base_is_of_one_frame():
    assert clip_entry((64, 16), (16, 16)).noise_ratios == (4, 1)
    assert clip_entry((64, 16), (64, 1)).noise_ratios == (4, 1)
    (level,) = clip_entry((64, 8)).levels
    based = EntryGraph("clips", (level,), time_width=16, process=Process(base=16))
    assert based.noise_ratios == (pytest.approx(4 * math.sqrt(8)),)


def test_the_base_is_written_and_read():
    graph = flat("{shift: 2, base: 4}")
    assert graph.process == Process(shift=2, base=4) and graph.noise_ratios == (4,)
    text = expanded_yaml(graph)
    assert "process: {shift: 2.0, base: 4}" in text
    again = load_text(text).graph
    assert again == graph and again.hash == graph.hash != flat("{steps: 1000}").hash
    assert json_schema("entry")["$defs"]["ProcessSpec"]["properties"]["base"]


def test_the_innermost_size_is_no_base():
    """It is what levels are compared with anyway, so the hash is that of the entry without it."""
    plain = load_entry("mdm-nano").graph
    based = load_entry("mdm-nano", overrides=["process.base=16"]).graph
    assert based.process.base is None and based.hash == plain.hash
    assert flat("{base: 16}").hash == flat("{steps: 1000}").hash
    other = load_entry("mdm-nano", overrides=["process.base=8"]).graph
    assert other.noise_ratios == (8, 4, 2) and other.hash != plain.hash and other.graph_hash == plain.graph_hash


@pytest.mark.parametrize(
    ("process", "code", "message"),
    [
        ("{shift: 2}", "conflict", "remove it, or give the side of the innermost level of the entry to compare with"),
        ("{shift: 0}", "conflict", "a shift of 0 changes nothing in an entry of one level"),
        ("{shift: 2, base: 16}", "conflict", "such as {shift: 2, base: 8}"),
        ("{base: 5}", "bad-value", "'base' is a side that divides that of the innermost level, 16: 5 does not"),
        ("{base: 32}", "bad-value", "32 does not"),
        ("{base: 0}", "out-of-range", "base"),
        ("{base: two}", "wrong-type", "base"),
        ("{shift: 16, base: 1}", "out-of-range", "every step would be noise"),
    ],
)
def test_wrong_bases_and_shifts(process, code, message):
    with pytest.raises(SpecError) as error:
        flat(process)
    assert f"error[{code}]" in str(error.value) and message in str(error.value)
    assert "flat.yaml:6:" in str(error.value)


def test_a_base_divides_the_innermost_side():
    with pytest.raises(SpecError, match="divides that of the innermost level, 16: 32 does not"):
        load_entry("mdm-nano", overrides=["process.base=32"])


def test_what_the_zoo_saved_has_the_shift_of_the_whole_entry():
    """The innermost level of a nested entry, in a checkpoint."""
    inner = load_entry("mdm-nano", overrides=["process.shift=2"]).graph.inner("r16")
    text = expanded_yaml(inner)
    with pytest.raises(SpecError, match="changes nothing"):
        load_text(text)
    assert load_text(text, saved=True).graph == inner
    assert flat("{shift: 1}").process == Process()
