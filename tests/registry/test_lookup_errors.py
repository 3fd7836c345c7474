"""Names, paths and filters that no entry can have: one documented error each, never one of the system."""

from __future__ import annotations

from pathlib import Path

import pytest

import zoo
from registry.weights import find_weights
from specs.errors import SpecError, UnknownName
from specs.recipe import load_recipe
from specs.study import load_study

NAMES = ["a\0b", "x" * 300, "x" * 251, "", "\ud800", "a\nb", "é", " mdm-nano", "~nosuchuser"]
PATHS = ["a\0/b", "x\0.yaml", f"{'x' * 300}.yaml", "a/" * 3000 + "b.yaml", "/", ".", Path("nosuch"), Path("a\0b.yaml")]
TYPES = [None, 3, 3.5, True, b"mdm-nano", ["mdm-nano"], {1}]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("look_up", [zoo.get, zoo.build, load_recipe, load_study], ids=lambda each: each.__name__)
def test_names_and_paths(look_up):
    for name in NAMES:
        with pytest.raises(UnknownName, match="is called"):
            look_up(name)
    for path in PATHS:
        with pytest.raises((SpecError, UnknownName), match="missing-file|unreadable|not-a-file|called"):
            look_up(path)


def test_weights():
    for name in NAMES:
        with pytest.raises((LookupError, ValueError), match="is called"):
            find_weights(name)
    for path in ("x\0.safetensors", f"{'x' * 300}.safetensors", Path("nosuch.safetensors")):
        with pytest.raises(ValueError, match="no such checkpoint"):
            find_weights(path)
    for what in TYPES:
        with pytest.raises(TypeError):
            find_weights(what)


def test_shipped_weights_do_not_fit_another_entry_of_their_name(tmp_path):
    path = tmp_path / "mdm-nano.yaml"
    path.write_text("name: mdm-nano\nresolution: 16\nstages: {r16: {width: 32}}\n")
    with pytest.raises(ValueError, match="weights of mdm-nano do not fit .*another structure"):
        find_weights(path)


@pytest.mark.parametrize("what", TYPES, ids=repr)
def test_types(what):
    with pytest.raises(TypeError, match="by its name or the path of a YAML file"):
        zoo.get(what)
    with pytest.raises(TypeError, match="name or path"):
        zoo.build(what)


def test_overrides():
    assert zoo.get("mdm-nano", "stages.r64.width=32") == zoo.get("mdm-nano", ["stages.r64.width=32"])
    for wrong in (None, 3, [3], {"stages.r64.width": 32}):
        with pytest.raises(TypeError, match="a list of texts"):
            zoo.get("mdm-nano", wrong)
    for wrong in ("width", "a\0=3", "x" * 5000):
        with pytest.raises(SpecError):
            zoo.get("mdm-nano", [wrong])


@pytest.mark.parametrize("name", ["pattern", "kind", "conditioning", "tag"])
def test_filters_of_text(name):
    for wrong in (3, b"x", Path("x"), ["mdm-*"]):
        with pytest.raises(TypeError, match=f"{name} is text"):
            zoo.list(**{name: wrong})


@pytest.mark.parametrize("name", ["resolution", "depth", "parameters_below"])
def test_filters_of_numbers(name):
    for wrong in ("64", [64], b"x"):
        with pytest.raises(TypeError, match=f"{name} is a number"):
            zoo.list(**{name: wrong})


def test_patterns_that_match_nothing():
    assert [zoo.list(pattern) for pattern in ("a\0", "x" * 300, "[", "")] == [[]] * 4


@pytest.mark.parametrize("device", ["teapot", None, "cuda:x", [3]])
def test_devices(device):
    with pytest.raises(ValueError, match="no device"):
        zoo.build("mdm-micro", device)
    with pytest.raises(ValueError, match="no device"):
        zoo.get("mdm-micro").build(device)
