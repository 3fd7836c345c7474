"""Batches of clips and images: which samples they hold, at which level, and that image batches are what they were."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import replace

import pytest
import torch

from builders.data.open import open_dataset
from builders.training.batches import Batch, BatchPlan, read_batches
from builders.training.reading.sources import Need, Needs, Sources, Streams, needs_of
from builders.training.settings import phase_settings
from specs.blocks.size import Size
from specs.recipe import load_recipe_and_graph
from specs.schemas.recipe import DropSpec
from tests.helpers.graphs import clip_entry
from tests.helpers.made_up import MadeUp

CLIPS, PHOTOS = MadeUp(), MadeUp("photos", count=30, frames=1, labels=())
GRAPH = clip_entry((8, 4), (4, 4), (4, 1), classes=2)


def plan_of(rows=(1, 2, 6), first_image=None, graph=GRAPH, **changes):
    drop = DropSpec(classes=0.0)
    return BatchPlan(graph, "mixed", 0, rows, 1000, 7, drop, **({"first_image": first_image} | changes))


def streams_of(plan, images=None, seed=0):
    """The streams of a plan; ``images`` is a dataset of its own."""
    sources = Sources(CLIPS, images, seed)
    return sources.train(needs_of(plan.kinds, apart=images is not None))


def shown(batch: Batch, level: int) -> list[list[int]]:
    """Bytes of the frames of every row of a level, which are flat in the made-up clips."""
    x = batch.images[level]
    x = x.unsqueeze(2) if x.dim() == 4 else x
    return ((x[:, 0, :, 0, 0] + 1) * 127.5).round().int().tolist()


def test_image_batches_are_what_they_were():
    """Hashes of batches that version 0.2 drew."""
    changes = ["phases.p16.batch={r16: 2, r8: 4}", "flip=true", "phases.p8.batch=4"]
    recipe, graph = load_recipe_and_graph("micro-test", changes)
    for name, side, expected in (("p8", 8, "79f43c7cc0fe3192"), ("p16", 16, "74e65df03ef37d9b")):
        phase = phase_settings(recipe, graph, name)
        plan = BatchPlan(phase.graph, name, recipe.seed, phase.rows, 1000, 5, recipe.drop, recipe.flip)
        batch = plan.draw(3, open_dataset("noto-emoji-64").load(side, memory=False))
        assert batch.keys == ("1f1f4-1f1f2", "1f3e5", "23e9", "1f5c3-fe0f")
        assert batch.classes is not None and batch.classes.tolist() == [9, 5, 8, 7]
        digest = hashlib.sha256()
        for tensor in (*batch.images, *batch.eps, batch.t, batch.classes):
            digest.update(tensor.contiguous().numpy().tobytes())
        assert digest.hexdigest()[:16] == expected


def test_first_rows_are_clips_and_the_others_further_first_frames():
    plan = plan_of()
    batch = plan.draw(3, streams_of(plan))
    assert [tuple(x.shape) for x in batch.images] == [(1, 3, 4, 8, 8), (2, 3, 4, 4, 4), (6, 3, 4, 4)]
    assert [x.shape for x in batch.eps] == [x.shape for x in batch.images]
    # Six samples of one stream a step, behind the seven of earlier phases.
    whole = CLIPS.load(8, frames=4).batch(7 + 3 * 6, 6)
    numbers = [int(key.removeprefix("clips")) for key in whole["key"]]
    assert list(batch.keys) == whole["key"] and batch.classes is not None
    assert batch.classes.tolist() == whole["classes"].tolist()
    assert shown(batch, 0) == [[(10 * numbers[0] + frame) % 256 for frame in range(4)]]
    assert shown(batch, 1) == [[(10 * number + frame) % 256 for frame in range(4)] for number in numbers[:2]]
    assert shown(batch, 2) == [[10 * number % 256] for number in numbers]


def test_images_of_their_own_are_counted_for_themselves():
    plan = plan_of(first_image=11)
    batch = plan.draw(3, streams_of(plan, PHOTOS))
    clips, images = CLIPS.load(8, frames=4).batch(7 + 3 * 2, 2), PHOTOS.load(4).batch(11 + 3 * 4, 4)
    assert list(batch.keys) == clips["key"] + images["key"]
    # Images without labels have no class: the index behind the last one.
    assert batch.classes is not None and batch.classes.tolist() == [*clips["classes"].tolist(), 2, 2, 2, 2]
    # The n-th clip does not depend on the number of images, nor the n-th image on that of clips.
    more = plan_of(rows=(2, 2, 10), first_image=11)
    assert more.draw(3, streams_of(more, PHOTOS)).keys[:2] == batch.keys[:2]
    fewer = plan_of(rows=(1, 1, 5), first_image=11)
    assert fewer.draw(3, streams_of(fewer, PHOTOS)).keys[1:] == batch.keys[2:]


def test_phase_of_images_takes_first_frames_of_clips_drawn_as_clips_are():
    still = plan_of(rows=(6,), graph=GRAPH.inner("r4"))
    moving = plan_of(rows=(6, 6, 6))
    one, other = still.draw(2, streams_of(still)), moving.draw(2, streams_of(moving))
    assert one.keys == other.keys and torch.equal(one.images[0], other.images[2])
    apart = plan_of(rows=(6,), graph=GRAPH.inner("r4"), first_image=5)
    assert list(apart.draw(2, streams_of(apart, PHOTOS)).keys) == PHOTOS.load(4).batch(5 + 12, 6)["key"]


def test_tensors_are_named_by_label():
    plan = plan_of()
    tensors = plan.draw(0, streams_of(plan)).tensors()
    assert sorted(tensors) == [
        "classes", "image/r4", "image/r4f4", "image/r8f4", "noise/r4", "noise/r4f4", "noise/r8f4", "t",
    ]  # fmt: skip
    assert tensors["image/r4"].shape == (6, 3, 4, 4) and tensors["noise/r4f4"].shape == (2, 3, 4, 4, 4)


@pytest.mark.parametrize("images", [None, PHOTOS], ids=["one set", "two sets"])
def test_parts_of_processes_make_up_the_batch(images):
    plan = plan_of(rows=(2, 4, 8), first_image=None if images is None else 0)
    streams = streams_of(plan, images)
    whole = plan.draw(1, streams)
    parts = [replace(plan, part=(index, 2)).draw(1, streams) for index in range(2)]
    for index, part in enumerate(parts):
        assert [len(x) for x in part.images] == [1, 2, 4]  # clips first here too
        assert part.keys == whole.keys[index::2] and torch.equal(part.t, whole.t[index::2])
        assert all(torch.equal(x, y[index::2]) for x, y in zip(part.images, whole.images, strict=True))


@pytest.mark.parametrize("images", [None, PHOTOS], ids=["one set", "two sets"])
def test_workers_send_the_same_clips_and_images(images):
    plan = plan_of(first_image=None if images is None else 3)
    streams = streams_of(plan, images)
    with closing(read_batches(plan, streams, 1, 4, workers=2)) as batches:
        for step, batch in enumerate(batches, 1):
            expected = plan.draw(step, streams)
            assert batch.keys == expected.keys
            assert all(torch.equal(value, batch.tensors()[name]) for name, value in expected.tensors().items())


def test_conditions_are_dropped_row_by_row():
    plan = replace(plan_of(rows=(20, 20, 40)), drop=DropSpec(classes=0.5))
    classes = plan.draw(0, streams_of(plan)).classes
    assert classes is not None
    for rows in (classes[:20], classes[20:]):  # clips and images alike
        assert 0 < (rows == 2).sum() < 20


def test_needs_differ_by_side_frames_and_dataset():
    """A phase that moves from r4 to r4f4 reads clips, though the side is the same."""
    rows = {"r4": (6,), "r4f4": (2, 6), "r8f4": (1, 2, 6)}
    found = {
        (label, apart): needs_of(plan_of(rows=rows[label], graph=GRAPH.inner(label)).kinds, apart=apart)
        for label in rows
        for apart in (False, True)
    }
    assert len(set(found.values())) == 6
    assert found["r4", False] == Needs(Need("data", Size(4)))
    assert found["r4", True] == Needs(Need("images", Size(4)))
    assert found["r4f4", True] == Needs(Need("data", Size(4, 4)), Need("images", Size(4)))
    assert isinstance(streams_of(plan_of()), Streams)
