"""Public names of version 0.1 (its ``__all__`` lists) still work, with a warning where the module has moved."""

from __future__ import annotations

import warnings
from importlib import import_module

import pytest

import specs.recipe_identity as identity
from specs.recipe import load_recipe
from tests.helpers.paths import GOLDEN

NAMES = (GOLDEN / "public-names-0.1.txt").read_text(encoding="utf-8").split()
#: Names without a successor: parts of the pickle reader that is gone, and helpers that were divided or became methods.
GONE = {
    *(f"builders.unpickler.{name}" for name in ("Placeholder", "Storage", "TensorRecord", "unpickle")),
    "builders.datasets.make_noto_emoji.held_out",  # builders.data.splits.is_held_out
    "builders.images.enlarge",  # builders.pictures.Canvas.image
    "builders.phase.rows_by_level",  # builders.training.settings.PhaseSettings.rows
    "builders.training_data.check_classes",  # builders.training.checks.check_entry
    "registry.counters.fvcore_macs",  # registry.costs.counters.verify
    "registry.counters.torch_macs",
    "registry.spool_thread.Job",  # plain records
}


def reachable(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return hasattr(import_module(module), attribute)


def test_names_of_0_1_are_reachable():
    assert len(NAMES) > 500
    assert {name for name in NAMES if not reachable(name)} == GONE


def test_a_moved_module_warns_with_its_new_name():
    with pytest.warns(FutureWarning, match=r"builders\.schedules is now builders\.diffusion\.schedules"):
        import sys

        sys.modules.pop("builders.schedules", None)
        import_module("builders.schedules")


@pytest.mark.parametrize("name", ["written", "facts", "fingerprint"])
def test_methods_of_a_recipe_are_functions(name):
    recipe = load_recipe("micro-test")
    with pytest.warns(FutureWarning, match=rf"Recipe\.{name} is now specs\.recipe_identity\.{name}"):
        assert getattr(recipe, name)(["classes"]) == getattr(identity, name)(recipe, ["classes"])
