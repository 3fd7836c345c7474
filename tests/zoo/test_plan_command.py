"""``zoo plan``: what it prints, refuses and writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import zoo
from specs.recipe import load_recipe
from specs.recipe_identity import fingerprint

TINY = "memory: 4e6\npeak: {float32: 1e12, bfloat16: 2e12}\nprice: 2\n"


def test_a_plan_for_many_accelerators(cli):
    code, text, errors = cli("plan", "paper-in1k-256", "--accelerator", "h100", "--count", "32", "--price", "2.5")
    assert (code, errors) == (0, "")
    lines = text.splitlines()
    assert lines[0] == "paper-in1k-256: mdm-s256.in1k on 32 x NVIDIA H100 SXM5 80GB, 74.5 GiB each"
    cells = {line[:20].strip(): line[20:].split() for line in lines[1:]}
    assert cells["phase"] == ["p64", "p256"] and cells["parameters"] == ["363,643,907", "378,898,758"]
    assert cells["precision"] == ["bfloat16", "bfloat16"] and cells["fits"] == ["yes", "yes"]
    assert lines[-2].startswith("time at 40 % of the peak rate: ") and "at 2.5 per device hour" in lines[-2]
    assert lines[-1].startswith("peak rate: https://")


def test_this_machine_is_planned_for_without_an_accelerator(cli, monkeypatch):
    monkeypatch.setattr("registry.costs.device._gpu_at_hand", lambda: None)
    code, text, _ = cli("plan", "micro-test", "--json")
    found = json.loads(text)
    assert code == 0 and found["device"]["name"] == "this machine" and found["device"]["gpu"] is False
    assert found["fits"] and [phase["name"] for phase in found["phases"]] == ["p8", "p16"] and found["cost"] is None


def test_the_gpu_at_hand(monkeypatch):
    def run(query, **options):
        return subprocess.CompletedProcess(query, 0, "NVIDIA L4, 23034\nNVIDIA L4, 23034\n", "")

    monkeypatch.setattr("registry.costs.device.subprocess.run", run)
    found = zoo.plan("micro-test").device
    assert (found.name, found.title, found.memory) == ("l4", "NVIDIA L4", 23034 * 2**20)


def test_what_does_not_fit_is_refused_with_the_changes(cli):
    Path("tiny.yaml").write_text(TINY)
    arguments = ["plan", "micro-test", "--accelerator", "tiny.yaml", "--set", "phases.p16.batch=8"]
    code, text, errors = cli(*arguments)
    assert code == 2 and "\nfits" in text and "cost 0.00 at 2 per device hour" in text
    assert errors.startswith("error: micro-test, phase p16: training takes ") and errors.count("\n") == 1
    assert "on each device, but tiny has 3.8 MiB. It fits with --set phases.p16.memory." in errors
    assert errors.endswith("; to write this recipe, add --apply\n")
    code, _, errors = cli(*arguments, "--set", "optimizer.name=adan")
    assert code == 2 and "No number of rows per pass, checkpointing, precision or sharding makes it fit" in errors


def test_apply_writes_a_recipe_that_fits(cli):
    Path("tiny.yaml").write_text(TINY)
    before = Path("mine.yaml")
    before.write_text("name: mine\nextends: micro-test\nphases: {p16: {batch: 8}}\n")
    arguments = ["plan", "mine.yaml", "--accelerator", "tiny.yaml", "--apply"]
    code, text, errors = cli(*arguments)
    assert (code, errors) == (0, "") and "changed: phases.p16.memory.rows_per_pass=" in text
    assert text.endswith("wrote mine-tiny.yaml\ntrain with: zoo train mine-tiny.yaml\n")
    assert before.read_text().startswith("name: mine\nextends")
    written, wanted = load_recipe("mine-tiny.yaml"), load_recipe("mine.yaml")
    assert written.phases["p16"].memory.rows_per_pass < 8 and written.phases["p16"].batch == 8
    assert fingerprint(written) == fingerprint(wanted)
    assert cli("plan", "mine-tiny.yaml", "--accelerator", "tiny.yaml")[0] == 0
    # Nothing that exists is replaced, unless it is named.
    code, _, errors = cli(*arguments)
    assert code == 2 and "mine-tiny.yaml exists; name another file" in errors
    assert cli(*arguments, "-o", "mine.yaml")[0] == 0 and load_recipe("mine.yaml") == written


def test_apply_changes_nothing_that_fits(cli):
    code, text, _ = cli("plan", "micro-test", "--accelerator", "t4", "--apply")
    assert code == 0 and text.endswith("the recipe fits as it is; nothing was written\n") and not list(Path().iterdir())
    assert cli("plan", "micro-test", "--accelerator", "t4", "--apply", "-o", "same.yaml")[0] == 0
    assert fingerprint(load_recipe("same.yaml")) == fingerprint(load_recipe("micro-test"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["micro-test", "--accelerator", "h10"], "no accelerator is called 'h10'; did you mean 'h100'"),
        (["micro-test", "--efficiency", "40"], "--efficiency 40: must be more than 0 and at most 1"),
        (["micro-test", "--count", "0"], "--count"),
        (["micro-test", "-o", "x.yaml"], "--output is the file that --apply writes; add --apply"),
        (["micro-test", "--accelerator", "t4", "--set", "precision=bfloat16"], "t4 has no bfloat16"),
        (["mdm-micro"], "mdm-micro is an entry, not a recipe; name the data to train it on: --data DATA"),
        (["nosuch"], "no recipe is called 'nosuch'"),
        (["micro-test", "--accelerator", "nosuch.yaml"], "nosuch.yaml"),
    ],
)
def test_errors(cli, arguments, message):
    code, text, errors = cli("plan", *arguments)
    assert code == 2 and message in errors and text == ""


def test_an_entry_is_planned_with_data(cli):
    code, text, _ = cli("plan", "mdm-nano", "--data", "noto-emoji-64", "--steps", "30", "--accelerator", "l4")
    assert code == 0 and text.startswith("train-mdm-nano: mdm-nano on 1 x NVIDIA L4")


def test_in_python():
    found = zoo.plan("micro-test", accelerator="h100", count=2, overrides=["phases.p16.batch=8"])
    assert found.fits and found.count == 2 and found.phases[1].rows == {"r16": 8, "r8": 8}
    assert zoo.plan(found.fitted, accelerator="h100", count=2).phases == found.phases
    with pytest.raises(TypeError, match="a recipe is a name, a path or a Recipe, not int"):
        zoo.plan(3)
    with pytest.raises(LookupError):
        zoo.plan("nosuch")
    with pytest.raises(ValueError, match="overrides precision=auto"):
        zoo.plan("micro-test", accelerator="t4", overrides="precision=bfloat16")


def test_no_torch_is_imported():
    code = "import zoo, sys; zoo.plan('micro-test', accelerator='h100'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
