"""fvcore, torch's counter and the blocks' rules agree."""

from __future__ import annotations

import pytest

import zoo
from registry.costs.counters import fvcore_macs, torch_macs
from registry.costs.totals import count

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("name", zoo.list(parameters_below=5_000_000))
def test_three_counts_agree(name):
    total = count(zoo.get(name).architecture).total
    rules = total.macs + total.encode_macs
    assert fvcore_macs(zoo.get(name).architecture) == pytest.approx(rules, rel=1e-3)
    assert torch_macs(zoo.get(name).architecture) == pytest.approx(rules, rel=1e-3)


@pytest.mark.parametrize("name", ["mdm-s64", "mdm-s256", "mdm-s1024"])
def test_large_entries_on_meta(name):
    total = count(zoo.get(name).architecture).total
    assert torch_macs(zoo.get(name).architecture) == pytest.approx(total.macs + total.encode_macs, rel=1e-3)
