"""Numbers with unit prefixes."""

from __future__ import annotations

import pytest

from registry.costs.units import short, short_bytes


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (999, "999"), (1000, "1.00 k"), (1234, "1.23 k"), (999_990, "999.99 k"), (10**6, "1.00 M"),
        (2_345_678, "2.35 M"), (10**9, "1.00 G"), (385_430_000_000, "385.43 G"), (10**12, "1.00 T"),
        (10**15, "1000.00 T"),
    ],
)  # fmt: skip
def test_numbers(value, text):
    assert short(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (2**20 - 1, "1024.0 KiB"),
        (2**20, "1.0 MiB"), (int(20.4 * 2**20), "20.4 MiB"), (2**30, "1.0 GiB"), (3 * 2**40, "3072.0 GiB"),
    ],
)  # fmt: skip
def test_bytes(value, text):
    assert short_bytes(value) == text
