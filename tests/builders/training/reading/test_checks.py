"""Data without clips, or with other classes, is refused before the first step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from builders.data.mixture import Mixture
from builders.training.errors import TrainingError
from builders.training.reading.checks import check_clips, check_labels
from builders.training.reading.sources import Sources, needs_of
from builders.training.settings import phase_settings
from specs.recipe import load_recipe_and_graph
from tests.helpers.graphs import clip_entry
from tests.helpers.made_up import MadeUp

GRAPH = clip_entry((8, 4), (8, 1), classes=2)


@pytest.fixture(scope="module")
def phases():
    """A phase of images, and one of clips of four frames."""
    recipe, graph = load_recipe_and_graph("micro-test", ["phases.p16=null"])
    found = phase_settings(recipe, graph, "p8")
    clips = replace(found, name="p8v", graph=GRAPH, rows=(2, 6))
    return [replace(found, graph=GRAPH.inner("r8"), rows=(6,)), clips]


def test_data_has_the_clips_of_every_phase(phases):
    for frames in (4, 8, 12):
        check_clips(phases, Sources(MadeUp(frames=frames)), "moving")
    check_clips(phases[:1], Sources(MadeUp("stills", frames=1)), "stills")


@pytest.mark.parametrize(
    ("frames", "found"),
    [(1, "images, not clips"), (2, "clips of 2 frames"), (6, "clips of 6 frames")],
)
def test_phase_without_clips_is_refused(phases, frames, found):
    wanted = rf"phase p8v trains r8f4 on clips of 4 frames, but ./mine has {found}: name a dataset under 'data' "
    with pytest.raises(TrainingError, match=wanted):
        check_clips(phases, Sources(MadeUp("x", frames=frames)), "./mine")


def test_part_of_a_mixture_without_clips_is_named(phases):
    parts = {"moving": MadeUp("moving"), "still": MadeUp("still", frames=1)}
    with pytest.raises(TrainingError, match="phase p8v trains r8f4 on clips of 4 frames, but still has images"):
        check_clips(phases, Sources(Mixture(parts, {"moving": 1, "still": 1})), "moving+still")


def test_images_have_the_classes_of_the_clips_or_none(phases):
    clips = MadeUp(labels=("left", "right"))
    for labels in ((), ("right",), ("right", "left")):
        sources = Sources(clips, MadeUp("photos", frames=1, labels=labels))
        check_labels(GRAPH, sources, "clips", "photos")
        drawn = sources.train(needs_of(phases[0].kinds, apart=True)).first.classes
        assert set(drawn.tolist()) == {sources.data.classes.index(label) for label in labels} or {2}
    other = Sources(clips, MadeUp("photos", frames=1, labels=("left", "cat", "dog")))
    wanted = r"clips has the classes of moving, but photos, under 'images', has others \(cat, dog\): give its images"
    with pytest.raises(TrainingError, match=wanted):
        check_labels(GRAPH, other, "moving", "photos")
    check_labels(replace(GRAPH, classes=None), other, "moving", "photos")


def test_facts_name_data_and_images_with_their_licences():
    recipe, _ = load_recipe_and_graph("micro-test")
    sources = Sources(MadeUp("a"), MadeUp("b", frames=1))
    both = recipe.model_copy(update={"data": "a", "images": "b"})
    assert sources.facts(both) == {"name": "a", "licence": "licence of a, licence of b", "images": "b"}
    assert Sources(MadeUp("a")).facts(recipe) == {"name": "noto-emoji-64", "licence": "licence of a"}
    assert sources.facts(both.model_copy(update={"licence": "CC0"}))["licence"] == "CC0"
