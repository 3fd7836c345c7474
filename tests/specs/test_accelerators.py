"""Accelerators: the packaged ones, own files, and errors."""

from __future__ import annotations

import pytest

from specs.accelerators import find_accelerator, list_accelerators, load_accelerator
from specs.errors import SpecError, UnknownName

OWN = "memory: 16e9\npeak: {float32: 1e12, bfloat16: 2e12}\nprice: 1.5\n"


@pytest.mark.parametrize("name", list_accelerators())
def test_packaged_accelerators_are_plausible(name):
    found, spec = load_accelerator(name)
    assert found == name and spec.source.startswith("https://") and "nvidia.com" in spec.source and spec.price is None
    assert 1e10 < spec.memory < 1e12 and 1e11 < spec.bandwidth < 1e13
    rates = [spec.peak[each] for each in ("float32", "tf32", "bfloat16") if each in spec.peak]
    assert rates == sorted(rates)  # lower precision is not slower
    # Dense rates: a tensor core is twice as fast in half the bits.
    if "tf32" in spec.peak:
        assert spec.peak["bfloat16"] == spec.peak["float16"] == pytest.approx(2 * spec.peak["tf32"], rel=0.02)
        assert spec.rate("float32") == spec.peak["tf32"]
    else:
        assert spec.rate("bfloat16") is None and spec.rate("float32") == spec.peak["float32"]


def test_names_and_devices():
    assert {"h100-sxm", "h100-pcie", "h200", "a100-40", "a100-80", "l4", "t4", "v100"} <= set(list_accelerators())
    assert load_accelerator("h100")[0] == "h100-sxm" and load_accelerator("a100")[0] == "a100-80"
    for device, name in [
        ("NVIDIA H100 80GB HBM3", "h100-sxm"), ("NVIDIA H200", "h200"), ("Tesla T4", "t4"), ("NVIDIA L4", "l4"),
        ("NVIDIA L40S", "l40s"), ("NVIDIA A100-SXM4-40GB", "a100-40"), ("NVIDIA GeForce RTX 4090", "rtx-4090"),
    ]:  # fmt: skip
        found = find_accelerator(device)
        assert found is not None and found[0] == name
    assert find_accelerator("NVIDIA GeForce GTX 1080") is None
    with pytest.raises(UnknownName, match="no accelerator is called 'h10'; did you mean 'h100'"):
        load_accelerator("h10")
    with pytest.raises(UnknownName, match="no accelerator is called 'cray'; there are h100-sxm, .*path of a file"):
        load_accelerator("cray")


def test_own_files(tmp_path, monkeypatch):
    (tmp_path / "accelerators").mkdir()
    for file in (tmp_path / "mine.yaml", tmp_path / "accelerators" / "card.yaml", tmp_path / "accelerators" / "l4.yml"):
        file.write_text(OWN)
    assert load_accelerator(tmp_path / "mine.yaml")[0] == "mine"
    monkeypatch.setenv("ZOO_PATH", str(tmp_path))
    assert list_accelerators()[:2] == ("card", "l4") and load_accelerator("card")[1].price == 1.5
    assert load_accelerator("l4")[1].memory == 16e9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("memory: 16e9\n", "missing-key.*'peak'"),
        ("memory: 16 GB\npeak: {float32: 1e12}\n", "wrong-type.*'memory'"),
        ("memory: 16e9\npeak: {bfloat16: 1e12}\n", "'peak' needs the rate of float32 or tf32"),
        ("memory: 16e9\npeak: {float32: -1}\n", "out-of-range"),
        ("memory: 16e9\npeak: {float64: 1e12}\n", "float64"),
        ("memory: 16e9\nspeed: 3\npeak: {float32: 1e12}\n", "unknown-key.*'speed'"),
        ("name: x\nentry: mdm-micro\nphases: {}\n", "this is a recipe, not an accelerator"),
        ("- 1\n", "an accelerator is a mapping"),
    ],
)
def test_errors_of_own_files(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=message):
        load_accelerator(path)
