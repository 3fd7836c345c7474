"""``benchmarks/gpu.py`` from a bare checkout: missing packages, and a whole run without a GPU."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import pytest

from benchmarks import gpu
from benchmarks.suite.comparing import ROOT


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")


def test_it_names_the_packages_that_are_missing(here, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "NEEDED", {"torch": "torch", "no_such_module": "no-such-package"})
    assert gpu.main([]) == 2
    message = capsys.readouterr().err
    assert message.startswith("Error: missing packages: no-such-package.")
    assert "pip download --no-deps --dest wheels no-such-package" in message


def wheel(folder, name):
    """Write a wheel with one empty module."""
    folder.mkdir(exist_ok=True)
    facts = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{facts}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{facts}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{facts}/RECORD", "")


def test_wheels_are_brought_along(here, monkeypatch, capsys, tmp_path):
    wheel(tmp_path / "wheels", "brought_along")
    monkeypatch.setattr(gpu, "NEEDED", {"brought_along": "brought-along"})
    monkeypatch.setattr(gpu, "commands", lambda device, output: {"tests": ["-c", "import brought_along, benchmarks"]})
    assert gpu.main(["--wheels", "wheels", "--cpu", "--only", "tests", "--output", "out"]) == 0
    assert "passed" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, b"damaged"])
def test_bad_wheels_are_one_message(content, here, capsys, tmp_path):
    (tmp_path / "wheels").mkdir()
    if content:
        (tmp_path / "wheels/x-1.0-py3-none-any.whl").write_bytes(content)
    assert gpu.main(["--wheels", "wheels"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("Error: pip cannot install the wheels" if content else "Error: wheels: no wheels (.whl)")


def test_a_part_out_of_time_ends(tmp_path):
    done = gpu.run_part("x", ["-c", "import time; print('began', flush=True); time.sleep(60)"], 1.0, tmp_path)
    assert (done.result, done.last) == ("out of time", "began")
    assert done.seconds < 30


def test_parts_that_fail_fail_the_whole(tmp_path, monkeypatch, capsys):
    words = {"tests": ["-c", "print('fine')"], "benchmarks": ["-c", "raise SystemExit(3)"]}
    monkeypatch.setattr(gpu, "commands", lambda device, output: words)
    assert gpu.run_all(["tests"], "cpu", tmp_path, 5) == 0
    assert gpu.run_all(["tests", "benchmarks"], "cpu", tmp_path, 5) == 1
    assert "benchmarks  failed" in capsys.readouterr().out


@pytest.mark.slow
def test_the_whole_without_a_gpu(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/gpu.py"), "--cpu", "--output", "out", "--minutes", "60"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    summary = done.stdout.partition("== summary")[2]
    assert summary.count("passed") == 3
    assert "mdm-micro, float32, 2 rows:" in summary and "ms a step" in summary
    assert (tmp_path / "out/ladder.png").is_file() and list(tmp_path.glob("out/run/*/ema.safetensors"))
