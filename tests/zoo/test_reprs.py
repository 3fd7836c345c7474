"""Objects are short in a terminal and tables in a notebook, with every text escaped."""

from __future__ import annotations

import xml.etree.ElementTree as xml

import pytest

import zoo
from builders.data.open import open_dataset
from specs.load import load_text
from specs.recipe import load_recipe
from specs.study import load_study
from tests.helpers.measured import measurement

SPEC = """
name: small
summary: "<script>alert(1)</script> & \\e[31mred\\u202e"
resolution: 8
inputs: {classes: 3}
stages: {r8: {width: 32}}
"""


def objects():
    entry = zoo.get("mdm-micro")
    model = entry.build()
    return {
        "Entry": entry,
        "Card": entry.card(),
        "EntryGraph": entry.architecture,
        "Context": model.encode(classes=[1, 2]),
        "NestedUNet": model,
        "Recipe": load_recipe("micro-test"),
        "Study": load_study("n32"),
        "Dataset": open_dataset("noto-emoji-64"),
        "Measurement": measurement("mdm-nano", 3.0),
    }


@pytest.mark.parametrize(("name", "found"), objects().items())
def test_short_in_a_terminal_and_a_table_in_a_notebook(name, found):
    assert repr(found).startswith(f"<{name} ") or repr(found).startswith(f"<{name}: ")
    assert len(repr(found)) < 200 and "\n" not in repr(found)
    assert len(str(found)) < 200
    page = xml.fromstring(found._repr_html_())
    assert page.tag == "div" and page.find("table") is not None


def test_what_they_say():
    found = {name: repr(each) for name, each in objects().items()}
    assert found["Card"].startswith("<Card mdm-micro: ") and "parameters" in found["Card"]
    assert found["Context"] == "<Context: rows 2, tensors by level: r16 1, r8 1>"
    assert found["Recipe"] == "<Recipe micro-test: mdm-micro on noto-emoji-64, phases p8, p16>"
    assert found["NestedUNet"].endswith("levels r16, r8, cpu>")


def test_levels_are_short_too():
    level = zoo.get("mdm-s64").architecture.levels[0]
    assert repr(level).startswith("<LevelGraph r64: 64 px, ")


def test_texts_are_escaped():
    entry = zoo.Entry(load_text(SPEC))
    for found in (entry, entry.card(), entry.architecture, entry.build()):
        page = found._repr_html_()
        assert "<script>" not in page and "&lt;script&gt;" in page and "&amp;" in page
        assert "\x1b" not in page and "\u202e" not in page
        xml.fromstring(page)
