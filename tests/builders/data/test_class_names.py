"""Classes by name and number: a name that fits wins over an index, and numbers sort as numbers."""

from __future__ import annotations

import json
import warnings

import pytest
import yaml
from PIL import Image

from builders.checkpoints.weights import save_weights
from builders.data.classes import ClassNames, sorted_as_text, with_classes
from builders.data.dataset_card import sort_classes
from builders.data.errors import DataError
from builders.data.open import open_dataset
from builders.data.packing.pack import PackSettings, pack
from builders.data.packing.sources import find_sources
from builders.networks.nested_unet import build_model
from builders.sampling.plan import Plan
from builders.training.checks import check_same_data, check_sources, classes_as_trained, data_facts
from builders.training.errors import OtherClassesWarning
from builders.training.settings import phase_settings
from builders.training.state import RunProgress, TrainingState
from registry.evaluation.evaluate import classes_as_known
from registry.evaluation.image_sets import open_images
from registry.provenance import OwnMetadata
from registry.weights import class_names, training_data
from specs.load import load_text
from specs.recipe import load_recipe_and_graph
from tests.helpers.shards import encode, write_tar

NUMBERS = tuple(str(number) for number in range(12))


def numbered(path, names=NUMBERS):
    members = []
    for number, name in enumerate(names):
        members += [(f"{number:03}.png", encode(Image.new("RGB", (8, 8)))), (f"{number:03}.cls", name.encode())]
    return write_tar(path, members)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (NUMBERS[::-1], NUMBERS),
        (["10", "9", "b"], ("10", "9", "b")),
        (["010", "9", "1", ""], ("1", "9", "010")),
        (["3", "-1", "+2"], ("-1", "+2", "3")),
        (["1", "01"], ("01", "1")),
        (["9" * 5000, "10", "2"], ("10", "2", "9" * 5000)),
        (["10.5", "9"], ("10.5", "9")),
        ([], ()),
    ],
)
def test_whole_numbers_sort_by_value(names, expected):
    assert sort_classes(names) == expected


@pytest.mark.parametrize(
    ("classes", "asked", "index"),
    [
        (("0", "1", "10", "2"), "2", 3),  # an order that an earlier version wrote
        (("0", "1", "10", "2"), 10, 2),
        (("01", "02", "03"), "2", 1),
        (("cat", "3", "dog"), "3", 1),
        (("cat", "dog"), "1", 1),
        (("cat", "dog"), 0, 0),
        (("size 1", "size 0"), "1", 0),
        (("A", "a"), "a", 1),
        (("A", "a"), "A", 0),
    ],
)
def test_a_name_wins_over_an_index(classes, asked, index):
    assert ClassNames("x", classes).class_index(asked) == index


@pytest.mark.parametrize(
    ("classes", "asked"),
    [
        (("1", "01"), "001"),
        (NUMBERS, "12"),
        (("cat", "dog"), "-1"),
        (("a 1", "b 1"), "1"),
        (("a",), "9" * 5000),
        (("1", "2", "3"), "0"),  # not the first class
        (("1", "3", "10"), 2),
        (("1", "2", "other"), 0),
    ],
)
def test_no_class_or_several(classes, asked):
    with pytest.raises(DataError, match="x has no class"):
        ClassNames("x", classes).class_index(asked)


@pytest.mark.parametrize("text", ["", "[]", "null", "3", '"ab"', "[1]", '["a", 1]', "{}", "[" * 100_000, "nonsense"])
def test_names_in_metadata_of_any_shape(text):
    assert ClassNames.parse(text, "x") is None


def test_labels_of_shards_and_folders_sort_as_numbers(tmp_path):
    path = numbered(tmp_path / "x.tar")
    data = open_dataset(path)
    assert data.classes == NUMBERS
    assert data.load(8, "all").classes.tolist() == list(range(12))
    text = sorted_as_text(data)
    assert text.classes == tuple(sorted(NUMBERS)) and text.load(8, "all").classes.tolist()[10] == 2
    mixed = open_dataset({str(path): 1.0, str(numbered(tmp_path / "y.tar", ("20", "3"))): 1.0})
    assert mixed.classes == (*NUMBERS, "20") and sorted_as_text(mixed).classes == (*sorted(NUMBERS), "20")
    assert with_classes(mixed, ["other"]).classes == mixed.classes
    changed = with_classes(mixed, mixed.classes[::-1]).load(8, "all")
    assert changed.classes.tolist() == [12 - number for number in [*range(12), 20 - 8, 3]]


def test_a_pack_keeps_the_order_of_its_card(tmp_path):
    for name in NUMBERS:
        (tmp_path / "in" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "in" / name / "a.png")

    def packed():
        return pack(find_sources(tmp_path / "in"), tmp_path / "out", "x", PackSettings(resolution=8)).classes

    assert packed() == packed() == NUMBERS
    card = tmp_path / "out" / "dataset.yaml"
    earlier = tuple(sorted(NUMBERS))
    facts = yaml.safe_load(card.read_text()) | {"classes": list(earlier)}
    card.write_text(yaml.safe_dump(facts, sort_keys=False))
    assert open_dataset(tmp_path / "out").classes == earlier
    assert sorted_as_text(open_dataset(tmp_path / "out")).classes == earlier
    (tmp_path / "out" / "train-000000.tar").unlink()  # which packs the shard again and writes a new card
    assert packed() == earlier


def test_a_run_of_an_earlier_version_resumes_with_its_order(tmp_path):
    data = open_dataset(numbered(tmp_path / "x.tar"))
    for saved, expected in ((sorted_as_text(data), tuple(sorted(NUMBERS))), (data, NUMBERS)):
        facts = {"data": json.dumps(data_facts(saved.load(8, "all")))}
        state = TrainingState(RunProgress("p"), {}, facts)
        found = classes_as_trained(data, state)
        assert found.classes == expected
        check_same_data(state, data_facts(found.load(8, "all")), tmp_path, "x")
    assert classes_as_trained(data, None).classes == NUMBERS
    assert classes_as_trained(data, TrainingState(RunProgress("p"), {}, {})).classes == NUMBERS


def test_class_shares_follow_the_weights_order(tmp_path):
    images = open_images(str(numbered(tmp_path / "x.tar", ("1", "2", "10", "10"))), 8, "all")
    assert images.class_counts == (1, 1, 2)
    drawn = classes_as_known(images, {"classes": '["1", "10", "2"]'})
    assert drawn.class_counts == (1, 2, 1) and drawn.classes == ("1", "10", "2")
    for metadata in ({}, {"classes": '["a", "b", "c"]'}):
        assert classes_as_known(images, metadata) is images


def test_weights_know_their_classes(tmp_path):
    graph = load_text("name: x\nresolution: 8\ninputs: {classes: 12}\nstages: {r8: {width: 32}}").graph
    path = numbered(tmp_path / "x.tar")
    before = OwnMetadata(data=str(path))
    now = OwnMetadata(before, classes=json.dumps(NUMBERS))
    # Weights of version 0.1 do not name their classes, which were sorted as text.
    assert training_data(before).classes == tuple(sorted(NUMBERS)) and training_data(now).classes == NUMBERS
    for metadata, index in ((before, 4), (now, 2)):
        data = training_data(metadata)
        plan = Plan.make(graph, class_names(metadata, data), ["2"], [], 1, 0)
        assert plan.captions == ("2",) and plan.classes == (index,)
    path.unlink()
    assert training_data(now) is None
    assert Plan.make(graph, class_names(now, None), [11], [], 1, 0).captions == ("11",)
    for asked in ("12", "-1", "x", "9" * 5000):
        with pytest.raises(ValueError, match="the names of the classes are unknown; use a number from 0 to 11"):
            Plan.make(graph, None, [asked], [], 1, 0)
    assert Plan.make(graph, class_names(before, None), ["11"], [], 1, 0).captions == ("class 11",)


def test_initial_weights_with_other_classes_give_a_warning(tmp_path):
    recipe, graph = load_recipe_and_graph("micro-test")
    path = tmp_path / "w.safetensors"
    names = open_dataset(recipe.data).classes
    settings = phase_settings(recipe.model_copy(update={"initialise": str(path)}), graph, next(iter(recipe.phases)))
    for known, warned in ((names, False), (names[::-1], True)):
        save_weights(path, graph, build_model(graph).state_dict(), {"classes": list(known)})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            check_sources([settings], names)
            check_sources([settings])
        assert [each.category for each in caught] == [OtherClassesWarning] * warned


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("2", "'2'; indices are from 0 to 1 (its"),
        (-1, "'-1'; indices are from 0 to 1 (its"),
        ("cat, dog", "; name each class separately (its"),
        ("cat,horse", "(its classes"),
        ("dgo", "; did you mean 'dog'?"),
    ],
)
def test_what_to_write_instead_of_an_unknown_class(asked, hint):
    with pytest.raises(DataError) as caught:
        ClassNames("x", ("cat", "dog")).class_index(asked)
    assert hint in str(caught.value)
