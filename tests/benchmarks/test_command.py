"""``python -m benchmarks``: its names, its errors, and every benchmark at its smallest."""

from __future__ import annotations

import json
import re

import pytest
import torch

from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.suite.comparing import ROOT, Comparison
from benchmarks.suite.ladder import RUNGS
from benchmarks.suite.measuring import Ratio


@pytest.fixture(autouse=True)
def threads():
    """The command sets the number of threads of this process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_list_names_every_benchmark_and_script(capsys):
    assert main(["--list"]) == 0
    text = capsys.readouterr().out
    for name in BENCHMARKS:
        assert re.search(rf"^  {name} +Measure .*\.$", text, re.M), name
    for path in (ROOT / "benchmarks").glob("[!_]*.py"):
        assert re.search(rf"^  {path.stem} +\w.*$", text, re.M), path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["foward"], "no benchmark is called 'foward'; did you mean 'forward'?"),
        (["x"], "no benchmark is called 'x'; there are build, forward, step"),
        (["--rounds", "0"], "--threads and --rounds must be at least 1"),
        (["--cases", "mdm-nano:0"], "--cases mdm-nano:0: the rows after the colon must be a whole number from 1"),
        (["--cases", "mdm-nani"], "mdm-nani"),
        (["--json", "nowhere/x.json"], "nowhere/x.json: no such folder"),
        pytest.param(
            ["--device", "cuda"],
            "--device cuda: torch finds no CUDA device; use --device cpu",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
def test_mistakes_are_one_message(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    found = capsys.readouterr()
    assert found.out == "" and found.err.startswith("Error: ") and message in found.err
    assert "Traceback" not in found.err


def test_results_are_printed_and_written(capsys, tmp_path):
    assert main(["forward", "memory", "--quick", "--json", str(tmp_path / "x.json")]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^\| forward +\| mdm-micro, 2 rows +\| +ms \| .* \| +\d+\.\d\d \(.* to .*\) \|", text, re.M)
    found = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert found["command"].startswith("python -m benchmarks forward memory --quick")
    assert "torch" in found["machine"]
    assert [each["benchmark"] for each in found["results"]] == ["forward", "memory", "memory"]
    assert all(each["ratio"]["median"] > 0 for each in found["results"])
    saved, checkpointed = (each["zoo"] for each in found["results"][1:])
    assert checkpointed < saved < found["results"][1]["plain"]


def test_a_benchmark_out_of_memory_leaves_the_others(capsys, monkeypatch):
    def measure_of(name):
        if name == "step":
            raise torch.OutOfMemoryError("no memory")
        return lambda options: iter([Comparison(name, "a case", "ms", 3.0, 2.0, Ratio(1.5, 1.5, 1.5), None, 1)])

    monkeypatch.setattr("benchmarks.__main__.measure_of", measure_of)
    assert main(["step", "forward", "--quick"]) == 0
    found = capsys.readouterr()
    assert "step: out of memory; choose fewer rows with --cases" in found.err
    assert re.search(r"^\| forward +\| a case +\| +ms \| +3 \| +2 \| +1.50 \|", found.out, re.M)


@pytest.mark.slow
def test_every_benchmark_works(capsys, tmp_path):
    results, picture = tmp_path / "x.json", tmp_path / "x.png"
    assert main(["--quick", "--json", str(results), "--picture", str(picture)]) == 0
    found = json.loads(results.read_text(encoding="utf-8"))["results"]
    assert list(dict.fromkeys(each["benchmark"] for each in found)) == list(BENCHMARKS)
    rungs = [each for each in found if each["benchmark"] == "ladder"]
    assert [each["name"] for each in rungs] == [
        name for name in RUNGS if name not in ("compiled blocks", "channels last")
    ]
    assert picture.read_bytes().startswith(b"\x89PNG")
    compared = [each for each in found if "plain" in each]
    assert len(compared) > 12 and all(each["plain"] > 0 and each["zoo"] > 0 for each in compared)
