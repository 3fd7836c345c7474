"""Blocks that are compiled, once for each kind, and a training with them."""

from __future__ import annotations

import copy
import os
import subprocess
import sys

import pytest
import torch
from PIL import Image

from builders.networks.compiling import block_modules, compile_blocks, compile_failure, compiler_problem, room_for_kinds
from builders.networks.nested_unet import build_model
from builders.sampling.grid import Grid
from builders.training.engine import compiled
from builders.training.errors import TrainingWarning
from specs.load import load_entry
from tests.helpers.networks import noise, randomise
from tests.helpers.paths import ROOT
from tests.helpers.recorded import recorded_losses

SMALL = [
    "phases.p8.steps=3", "phases.p8.batch=4", "phases.p16.steps=2", "phases.p16.batch={r16: 2, r8: 4}",
    "every={checkpoint: 0, evaluate: 0, samples: 0}", "ema=0.5", "validation={samples: 2, draws: 1, log_snr_draws: 0}",
]  # fmt: skip


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    monkeypatch.setattr("builders.training.loop.draw_samples", lambda *_, **__: Grid(Image.new("RGB", (4, 4))))


def trained(folder, *changes):
    return recorded_losses(folder, [*SMALL, *changes])


@pytest.fixture
def called(monkeypatch):
    """Have no compiler: blocks run as they are, and what is asked of torch is recorded."""
    seen = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **options: seen.append((type(self).__name__, options)))
    return seen


def test_every_block_and_head_is_compiled(called):
    model = build_model(load_entry("mdm-micro").graph)
    compile_blocks(model)
    blocks = sum(node.block != "nest" for level in model.graph.levels for node in level.nodes)
    assert len(called) == len(block_modules(model)) == blocks + len(model.labels)
    assert called.count(("Head", {"dynamic": False})) == len(model.labels)


def test_the_limit_of_versions_is_raised_for_the_context():
    from torch._dynamo import config

    with config.patch(cache_size_limit=8):
        with room_for_kinds():
            assert config.cache_size_limit == 512
        assert config.cache_size_limit == 8
    with config.patch(cache_size_limit=1000), room_for_kinds():
        assert config.cache_size_limit == 1000


@pytest.mark.slow
def test_a_run_compiles_every_phase(tmp_path, called, monkeypatch):
    monkeypatch.setattr(compiled, "compiler_problem", lambda device: None)
    plain = trained(tmp_path / "plain")
    assert not called
    assert trained(tmp_path / "compiled", "compile=true") == plain
    assert {name for name, _ in called} >= {"Resnet", "Head"}


def test_no_compiler_is_one_warning(tmp_path, called, monkeypatch):
    def fail(*_args, **_options):
        raise RuntimeError("No working C++ compiler found\nin a long text") from FileNotFoundError("no g++ here")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.warns(TrainingWarning) as caught:
        trained(tmp_path, "compile=true", "phases.p16=null")
    assert [str(each.message) for each in caught] == [
        "compile: true has no effect: torch.compile does not work here (no g++ here); training continues"
    ]
    assert not called


def test_blocks_that_cannot_be_compiled_run_as_they_are(tmp_path, monkeypatch):
    """As with a damaged cache, which is found when a block first runs."""

    def broken(*_inputs):
        raise RuntimeError("backend='inductor' raised:") from ImportError("code.so: file too short\nmore")

    compile_ = torch.nn.Module.compile
    monkeypatch.setattr(compiled, "compiler_problem", lambda device: None)
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **_: setattr(self, "_compiled_call_impl", broken))
    one = "phases.p16=null"
    with pytest.warns(TrainingWarning) as caught:
        found = trained(tmp_path / "broken", "compile=true", "memory={rows_per_pass: 2}", one)
    assert [str(each.message) for each in caught] == [
        "compile: true has no effect: a block could not be compiled (code.so: file too short); training continues"
    ]
    monkeypatch.setattr(torch.nn.Module, "compile", compile_)
    assert found == trained(tmp_path / "plain", "memory={rows_per_pass: 2}", one)


def test_the_cache_is_named_if_a_file_in_it_is_at_fault(own_cache, tmp_path):
    error = RuntimeError("a long text")
    error.inner_exception = ImportError(f"{tmp_path}/code/x.so: file too short")
    assert (
        compile_failure(error)
        == f"{tmp_path}/code/x.so: file too short; if this file is damaged, remove {tmp_path}/code"
    )
    assert compile_failure(ValueError("bad\nmore")) == "bad"


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache of compiled code for this test: a killed process may leave damaged files in the common one."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "code"))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # torch's compiler hides some of its own
def test_compiled_blocks_compute_the_same(own_cache):
    if (problem := compiler_problem(torch.device("cpu"))) is not None:
        pytest.skip(problem)
    from torch._dynamo.utils import counters

    plain = randomise(build_model(load_entry("mdm-micro").graph.inner("r8")))
    model = copy.deepcopy(plain)
    z = noise(plain.graph, 2)
    counters.clear()
    with room_for_kinds():
        compile_blocks(model)
        for each in (plain, model):
            sum(x.square().mean() for x in each(z, [10, 500])).backward()
        kinds = counters["stats"]["unique_graphs"]
        # Blocks of a kind share their code: another forward compiles nothing.
        model(z, [10, 500])
        assert counters["stats"]["unique_graphs"] == kinds < len(block_modules(model))
    assert list(model.state_dict()) == list(plain.state_dict())
    for (name, x), y in zip(plain.named_parameters(), model.parameters(), strict=True):
        assert (x.grad is None) == (y.grad is None), name
        if x.grad is not None:
            torch.testing.assert_close(y.grad, x.grad, rtol=1e-3, atol=1e-4 * float(x.grad.abs().max()), msg=name)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # torch's compiler hides some of its own
def test_a_compiled_training_has_the_same_losses(tmp_path, own_cache):
    """With checkpointing and accumulation."""
    if (problem := compiler_problem(torch.device("cpu"))) is not None:
        pytest.skip(problem)
    one, memory = "phases.p16=null", "memory={checkpoint: [r8], rows_per_pass: 2}"
    plain, found = trained(tmp_path / "plain", one), trained(tmp_path / "compiled", one, "compile=true", memory)
    assert len(plain) == len(found) == 3
    for losses, others in zip(plain, found, strict=True):
        assert others == pytest.approx(losses, rel=1e-5)
    # The same process may train again without compiling.
    assert trained(tmp_path / "again", one) == plain


@pytest.mark.slow
def test_a_damaged_cache_is_a_message(tmp_path):
    code = tmp_path / "code"
    trial = "import torch; from builders.networks import compiling; compiling.compiler_problem(torch.device('cpu'))"
    options = [word for change in (*SMALL, "phases.p16=null", "compile=true") for word in ("--set", change)]

    def run(*command):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TORCHINDUCTOR_CACHE_DIR": str(code)}
        return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=900)

    def train(name):
        return run("-m", "zoo", "train", "micro-test", "--no-track", "-o", str(tmp_path / name), *options)

    run("-c", trial)
    intact = set(code.rglob("*.so"))
    if not intact:
        pytest.skip("nothing can be compiled here")
    assert train("first").returncode == 0
    for path in set(code.rglob("*.so")) - intact:
        path.write_bytes(b"")
    done = train("second")
    text = " ".join(done.stderr.split())
    assert done.returncode == 0 and "compile: true has no effect: a block could not be compiled (" in text
    assert "file too short; if this file is damaged, remove" in text and "Traceback" not in done.stderr
