"""``process.noise`` of entries: whether levels share their noise, and when they can."""

from __future__ import annotations

import pytest

from specs.errors import SpecError
from specs.expanded_yaml import expanded_yaml
from specs.load import load_entry, load_text

SHARED = "process.noise={levels: shared}"


def test_shared_noise_is_part_of_the_process():
    plain = load_entry("mdm-micro").graph
    shared = load_entry("mdm-micro", overrides=[SHARED]).graph
    assert (plain.process.noise, shared.process.noise) == ("independent", "shared")
    assert shared.hash != plain.hash and shared.graph_hash == plain.graph_hash
    assert load_entry("mdm-micro", overrides=["process.noise={levels: independent}"]).graph.hash == plain.hash
    text = expanded_yaml(shared)
    assert "process: {noise: {levels: shared}}" in text
    assert load_text(text).graph == shared


def test_noise_that_is_weaker_than_what_a_level_sees_cannot_be_shared():
    load_entry("mdm-micro", overrides=[SHARED, "process.shift=2"])
    message = r"r8 cannot share the noise of r16 with a shift of 2\.1: what it sees is stronger .* at most 2, or"
    with pytest.raises(SpecError, match=message):
        load_entry("mdm-micro", overrides=[SHARED, "process.shift=2.1"])
    # 8 frames of 16 pixels around 1 of 16: averaging pixels lowers no noise.
    with pytest.raises(SpecError, match=r"r16 cannot share the noise of r16f8 with a shift of 1: .* at most 0, or"):
        load_entry("mdm-nano-v", overrides=[SHARED])


def test_an_entry_of_one_level_has_nothing_to_share():
    text = "name: flat\nresolution: 16\nstages:\n  r16: {width: 32}\nprocess: {noise: {levels: shared}}\n"
    with pytest.raises(SpecError, match="'levels: shared' changes nothing in an entry of one level"):
        load_text(text, "flat.yaml")
    # Weights of an inner level alone say what they were trained with.
    inner = load_entry("mdm-micro", overrides=[SHARED]).graph.inner("r8")
    assert load_text(expanded_yaml(inner), saved=True).graph.hash == inner.hash
