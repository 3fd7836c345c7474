"""What the ``.json`` of a clip says."""

from __future__ import annotations

import pytest

from builders.data.clips.facts import ClipFacts, parse_clip_facts
from builders.data.errors import DataError


def test_facts():
    assert parse_clip_facts({}, "a") == ClipFacts() == ClipFacts(0, None, None, "")
    found = parse_clip_facts({"frames": 4, "rate": 7.5, "scale": 720, "sha256": "AB", "start": 1}, "a")
    assert found == ClipFacts(4, 7.5, 720.0, "ab")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"frames": "4"}, "sample: 'frames' is '4'; it must be a whole number of at most 100,000"),
        ({"frames": True}, "'frames' is True"),
        ({"frames": -1}, "'frames' is -1"),
        ({"frames": 10**400}, "'frames' is 1000"),
        ({"rate": 10**400}, "'rate' is 1000"),
        ({"rate": float("nan")}, "'rate' is nan; it must be a positive number"),
        ({"rate": 0}, "'rate' is 0"),
        ({"scale": [0] * 10**6}, r"'scale' is \[0, 0, 0, 0, 0, 0, ...\]"),
        ({"sha256": 7}, "'sha256' is 7; it must be a text"),
    ],
)
def test_wrong_facts(facts, message):
    with pytest.raises(DataError, match=message) as caught:
        parse_clip_facts(facts, "sample")
    assert len(str(caught.value)) < 200
