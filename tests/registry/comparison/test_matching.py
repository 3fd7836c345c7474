"""Variants whose cost is near that of another entry."""

from __future__ import annotations

import pytest

import zoo
from registry.comparison.matching import match
from specs.load import load_text


@pytest.mark.parametrize(
    ("base", "like", "by", "inner", "within"),
    [
        ("flat-n32", "flat-n32-wide", "flops", False, 0.01),
        ("flat-n32", "mdm-nano", "parameters", False, 0.15),
        ("doll-n32", "flat-n32-wide", "parameters", True, 0.1),
        ("unetpp-s64", "mdm-s64", "flops", False, 0.05),
    ],
)
def test_match(base, like, by, inner, within):
    found = match(base, like, by, inner=inner)
    assert found.ratio == pytest.approx(1, abs=within)
    # What is printed loads, and costs what is said.
    graph = load_text(found.yaml).graph
    assert graph.hash == found.graph.hash
    from registry.costs.card import make_card

    assert getattr(make_card(graph), by) == found.cost


def test_match_of_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nresolution: 32\nstages: {r32: {width: 32, depth: 1}, r16: {width: 64, depth: 1}}\n")
    found = match(str(path), "flat-n32", "parameters")
    assert load_text(found.yaml).graph.hash == found.graph.hash and 0.8 < found.ratio < 1.2


def test_match_is_the_nearest():
    found = match("flat-n32", "doll-n32-wide")
    target = zoo.get("doll-n32-wide").card().flops
    for width in range(8, 128, 8):
        changed = [f"stages.r32.width={width}", f"stages.r16.width={width}", f"stages.r8.width={2 * width}"]
        other = zoo.get("flat-n32", changed).card().flops
        assert abs(found.cost - target) <= abs(other - target)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["flat-n32", "--like", "nope"], "no entry is called 'nope'"),
        (["flat-n32", "--like", "mdm-s64", "--by", "time"], "no cost 'time'; there are flops and parameters"),
        (["mdm-s256", "--like", "mdm-micro"], "--inner scales the inner levels too"),
    ],
)
def test_match_mistakes(cli, arguments, message):
    code, out, err = cli("match", *arguments)
    assert (code, out) == (2, "") and message in err
