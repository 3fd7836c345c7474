"""``process.noise.offset`` of entries."""

from __future__ import annotations

import pytest

from specs.errors import SpecError
from specs.expanded_yaml import expanded_yaml
from specs.load import load_entry, load_text


def test_an_offset_is_part_of_the_process():
    plain = load_entry("mdm-micro").graph
    offset = load_entry("mdm-micro", overrides=["process.noise={offset: 0.1}"]).graph
    assert (plain.process.offset, offset.process.offset, offset.process.noise) == (0, 0.1, "independent")
    assert offset.hash != plain.hash and offset.graph_hash == plain.graph_hash
    assert load_entry("mdm-micro", overrides=["process.noise={offset: 0}"]).graph.hash == plain.hash
    text = expanded_yaml(offset)
    assert "process: {noise: {offset: 0.1}}" in text
    assert load_text(text).graph == offset
    assert load_text(expanded_yaml(offset.inner("r8")), saved=True).graph.process.offset == 0.1


def test_levels_that_share_their_noise_have_no_offset():
    message = "an 'offset' needs 'levels: independent': the levels have constants of their own"
    with pytest.raises(SpecError, match=message):
        load_entry("mdm-micro", overrides=["process.noise={levels: shared, offset: 0.1}"])
    with pytest.raises(SpecError, match="'offset' must be at most 1"):
        load_entry("mdm-micro", overrides=["process.noise={offset: 2}"])
