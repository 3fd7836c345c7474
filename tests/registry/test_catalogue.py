"""Looking entries up, and what must hold of every one of them."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import networkx
import pytest
import torch
import yaml

import zoo
from registry import catalogue
from specs.errors import SpecError, UnknownName
from specs.installed import installed_folders
from specs.load import load_text

SMALL = "name: {name}\nresolution: 16\ntime: {{width: 64}}\nstages:\n  r16: {{width: 32}}\n  r8: {{width: 32}}\n"


@pytest.fixture(autouse=True)
def only_packaged(monkeypatch):
    monkeypatch.delenv("ZOO_PATH", raising=False)


def test_list():
    names = zoo.list()
    assert {"mdm-nano", "mdm-micro", "mdm-s64.in1k", "mdm-s256.in1k", "mdm-s1024.in1k"} <= set(names)
    assert zoo.list("mdm-s*.in1k") == zoo.list("MDM-S*.IN1K") == ["mdm-s64.in1k", "mdm-s256.in1k", "mdm-s1024.in1k"]
    assert zoo.list("nothing-*") == []


def test_the_list_is_in_natural_order(tmp_path, monkeypatch):
    for name in ("z10", "z1-b", "z9", "z1"):
        (tmp_path / f"{name}.yaml").write_text(SMALL.format(name=name), encoding="utf-8")
    monkeypatch.setenv("ZOO_PATH", str(tmp_path))
    assert zoo.list("z*") == ["z1", "z1-b", "z9", "z10"]
    names = zoo.list()
    padded = [re.sub(r"\d+", lambda digits: digits[0].zfill(9), name) for name in names]
    assert padded == sorted(padded) and len(set(names)) == len(names)
    assert names != sorted(names)


def test_a_wider_pattern():
    assert catalogue.wider_pattern("mdm") == "mdm*"
    assert catalogue.wider_pattern("NANO") == "*NANO*"
    assert catalogue.wider_pattern("mdm", depth=3) == "mdm*" and catalogue.wider_pattern("mdm", depth=9) is None
    assert catalogue.wider_pattern("mdm?") is None and catalogue.wider_pattern("xyz") is None


@pytest.mark.parametrize("name", zoo.list())
def test_every_entry(name):
    entry = zoo.get(name)
    assert entry.name == name
    assert entry.summary and len(entry.summary) < 200
    assert entry.spec.name == name
    assert entry.hash != entry.graph_hash and len(entry.hash) == len(entry.graph_hash) == 16
    assert list(entry.graph_hashes) == list(entry.labels)
    again = load_text(entry.expanded_yaml(), "expanded.yaml")
    assert (again.graph.hash, again.graph.graph_hash) == (entry.hash, entry.graph_hash)
    assert dict(again.graph.graph_hashes) == dict(entry.graph_hashes)
    assert entry == zoo.get(name) and hash(entry) == hash(zoo.get(name))
    assert name in repr(entry)


@pytest.mark.parametrize("name", zoo.list())
def test_every_graph(name):
    entry = zoo.get(name)
    graph = entry.graph
    assert networkx.is_directed_acyclic_graph(graph)
    assert networkx.is_weakly_connected(graph)
    outer, inner = entry.labels[0], entry.labels[-1]
    # What the outermost head gives depends on the innermost stem.
    assert networkx.has_path(graph, f"{inner}/stem", f"{outer}/head")
    assert all({"block", "width", "resolution", "args", "level"} <= set(data) for _, data in graph.nodes(data=True))
    # Nothing hangs loose: every block leads to a head.
    heads = {node for node in graph if node.endswith("/head")}
    assert {node for node in graph if graph.out_degree(node) == 0} == heads
    with pytest.raises(networkx.NetworkXError):
        graph.add_node("x")


@pytest.mark.parametrize("name", zoo.list())
def test_every_entry_builds_on_meta(name):
    entry = zoo.get(name)
    model = entry.build(device="meta")
    assert isinstance(model, torch.nn.Module)
    assert model.labels == entry.labels
    assert all(parameter.is_meta for parameter in model.parameters())


def test_the_thousand_pixel_model_is_ten_lines():
    path = Path(catalogue.search_path()[0]) / "mdm-s1024.yaml"
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 10
    assert yaml.safe_load(text)["nest"] == "mdm-s256"
    assert zoo.get("mdm-s1024").labels == ("r1024", "r256", "r64")


def test_names_that_do_not_exist():
    with pytest.raises(LookupError, match=r"mdm-s65.*did you mean 'mdm-s64'"):
        zoo.get("mdm-s65")
    with pytest.raises(UnknownName):
        zoo.get("mdm s64!")
    with pytest.raises(SpecError, match=r"absent\.yaml.*no such file"):
        zoo.get("absent.yaml")


def test_overrides():
    entry = zoo.get("mdm-nano", ["process.steps=500"])
    assert entry.spec.process.steps == 500
    assert entry.hash != zoo.get("mdm-nano").hash
    assert entry.graph_hash == zoo.get("mdm-nano").graph_hash


def test_build_takes_whatever_names_an_entry(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL.format(name="small"), encoding="utf-8")
    entry = zoo.get(path)
    for what in (entry, entry.spec, entry.architecture, path, str(path)):
        assert zoo.build(what, device="meta").graph.hash == entry.hash
    assert zoo.build(path, device="meta", overrides=["stages.r16.width=64"]).graph.hash != entry.hash
    with pytest.raises(ValueError, match="overrides"):
        zoo.build(entry, device="meta", overrides=["stages.r16.width=64"])
    with pytest.raises(TypeError, match="int"):
        zoo.build(3)


def test_entries_of_a_folder(tmp_path, monkeypatch):
    (tmp_path / "my-own.yaml").write_text(SMALL.format(name="my-own"), encoding="utf-8")
    (tmp_path / "notes.txt").write_text("no entry")
    monkeypatch.setenv("ZOO_PATH", f"{tmp_path / 'absent'}:{tmp_path}")
    assert "my-own" in zoo.list()
    assert zoo.get("my-own").resolution == 16


def test_entries_of_an_installed_package(tmp_path, monkeypatch):
    """Found through the entry point, without running the package."""
    folder = tmp_path / "face_models" / "specs"
    folder.mkdir(parents=True)
    (tmp_path / "face_models" / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "face-s16.yaml").write_text(SMALL.format(name="face-s16"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    points = [
        importlib.metadata.EntryPoint("faces", "face_models.specs", catalogue.GROUP),
        importlib.metadata.EntryPoint("gone", "no_such_package.specs", catalogue.GROUP),
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == catalogue.GROUP else [])
    installed_folders.cache_clear()
    try:
        assert "face-s16" in zoo.list()
        assert zoo.get("face-s16").card().parameters > 0
    finally:
        installed_folders.cache_clear()


def test_public_face():
    assert dir(zoo) == sorted(zoo.__all__)
    assert all(hasattr(zoo, name) for name in zoo.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        zoo.nonsense  # noqa: B018
