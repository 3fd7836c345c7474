"""Batches of clips and images: which samples they hold, at which level, and that image batches are what they were."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import replace

import pytest
import torch

from builders.data.open import open_dataset
from builders.data.sample_reader import SampleReader
from builders.diffusion.log_snr import log_snr
from builders.diffusion.process import DiffusionProcess
from builders.training.batches import Batch, BatchPlan, joined, read_batches
from builders.training.reading.noise import times_of
from builders.training.reading.sources import Need, Needs, Sources, Streams, needs_of
from builders.training.settings import phase_settings
from specs.blocks.size import Size
from specs.graph import Process
from specs.recipe import load_recipe_and_graph
from specs.schemas.recipe import DropSpec
from specs.schemas.times import TimesSpec
from tests.helpers.graphs import clip_entry, plain_entry
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


def assert_equal(one: Batch, other: Batch) -> None:
    assert one.keys == other.keys and one.captions == other.captions
    assert sorted(one.tensors()) == sorted(other.tensors())
    assert all(torch.equal(value, other.tensors()[name]) for name, value in one.tensors().items())


@pytest.mark.parametrize("noise", ["rows", "batch"])
@pytest.mark.parametrize("images", [None, PHOTOS], ids=["one set", "two sets"])
@pytest.mark.parametrize(("rows", "count"), [((2, 4, 8), 2), ((3, 5, 7), 3), ((4, 4, 5), 4), ((4, 4, 4), 4)])
def test_parts_of_processes_make_up_the_batch(noise, images, rows, count):
    """Rows that processes cannot share evenly, fewer images than processes, and no images."""
    plan = plan_of(rows, first_image=None if images is None else 0, noise=noise)
    plan = replace(plan, flip=True, drop=DropSpec(classes=0.5))
    streams = streams_of(plan, images)
    whole = plan.draw(1, streams)
    assert [len(x) for x in whole.images] == list(rows)
    for index in range(count):
        part = replace(plan, part=(index, count)).draw(1, streams)
        assert_equal(part, whole.part(index, count))
        passes = [part.part(number, 2) for number in range(2)]
        assert torch.equal(joined([each.eps[2] for each in passes]), part.eps[2])


@pytest.mark.parametrize("count", [2, 4])
def test_a_process_decodes_its_own_rows_alone(count, monkeypatch):
    decoded: list[int] = []
    read = SampleReader.read
    monkeypatch.setattr(
        SampleReader, "read", lambda self, member, *rest: (decoded.append(1), read(self, member, *rest))[1]
    )
    recipe, graph = load_recipe_and_graph("micro-test")
    data = open_dataset("noto-emoji-64").load(16, memory=False)
    plan = BatchPlan(graph, "p16", recipe.seed, (4, 10), 1000, 5, recipe.drop, noise="rows")
    seen: list[str] = []
    for index in range(count):
        decoded.clear()
        part = replace(plan, part=(index, count)).draw(3, data)
        assert len(decoded) == len(part.keys) == len(range(index, 10, count))
        seen += part.keys
    assert sorted(seen) == sorted(plan.draw(3, data).keys)


def test_random_numbers_of_a_row_depend_on_nothing_around_it():
    plan = plan_of(rows=(2, 4, 8), noise="rows")
    streams = streams_of(plan)
    whole = plan.draw(1, streams)
    # The first rows of a smaller batch, and the inner level alone.
    fewer = plan_of(rows=(1, 2, 3), noise="rows").draw(1, streams)
    assert torch.equal(fewer.t, whole.t[:3])
    assert all(torch.equal(x, y[: len(x)]) for x, y in zip(fewer.eps, whole.eps, strict=True))
    still = plan_of(rows=(8,), graph=GRAPH.inner("r4"), noise="rows")
    assert torch.equal(still.draw(1, streams_of(still)).eps[0], whole.eps[2])
    # Other steps, phases and seeds have other numbers.
    for other in (replace(plan, seed=1), replace(plan, name="other")):
        assert not torch.equal(other.draw(1, streams).eps[1], whole.eps[1])
    assert not torch.equal(plan.draw(2, streams).eps[1], whole.eps[1])


def test_random_numbers_are_distributed_as_they_should_be():
    plan = replace(plan_of(rows=(400, 400, 800), noise="rows"), drop=DropSpec(classes=0.25))
    batch = plan.draw(0, streams_of(plan))
    assert batch.classes is not None
    assert 0.21 < (batch.classes == 2).double().mean() < 0.29
    assert batch.t.min() < 20 and batch.t.max() >= 980 and 470 < batch.t.double().mean() < 530
    for eps in batch.eps:
        rows = eps.flatten(1)
        assert abs(rows.mean()) < 0.02 and abs(rows.std() - 1) < 0.02
        # Of neighbouring rows, whose generators are seeded one after the other.
        assert abs((rows[1:] * rows[:-1]).mean()) < 0.02


def test_times_are_spread_over_all_indices():
    u = torch.tensor([0.0, 0.00099, 0.001, 0.5, 1 - 2**-53], dtype=torch.float64)
    assert times_of(u, 1000).tolist() == [0, 0, 1, 500, 999]


@pytest.mark.parametrize("noise", ["rows", "batch"])
def test_times_have_the_distribution_of_the_recipe_in_all_processes(noise):
    plan = replace(plan_of(rows=(16, 16, 32), noise=noise), spread=TimesSpec(distribution="stratified"))
    streams = streams_of(plan)
    whole = plan.draw(3, streams)
    for rows in (16, 32):  # one in each part of this size
        assert (whole.t[:rows].sort().values.diff() - 1000 / rows).abs().max() <= 1
    assert not torch.equal(plan.draw(4, streams).t, whole.t)
    for index in range(2):
        part = replace(plan, part=(index, 2)).draw(3, streams)
        assert torch.equal(part.t, whole.t[index::2])
    # The noise and the dropped conditions are those of uniform times.
    uniform = plan_of(rows=(16, 16, 32), noise=noise).draw(3, streams)
    assert all(torch.equal(x, y) for x, y in zip(uniform.eps, whole.eps, strict=True))
    likely = replace(plan, spread=TimesSpec(distribution="logsnr", mean=6.0, std=0.1)).draw(3, streams)
    ratios = log_snr(DiffusionProcess(GRAPH).schedules[0])[likely.t + 1]
    assert ratios.min() > 5.5 and ratios.max() < 6.5


@pytest.mark.parametrize("noise", ["rows", "batch"])
def test_levels_share_noise_if_the_process_says_so(noise):
    """With shift 2, the noise of a level is the average of that around it, in all processes and for its rows alone."""
    graph = plain_entry(8, 4, process=Process(noise="shared", shift=2), classes=2)
    plan = plan_of(rows=(4, 9), graph=graph, noise=noise, first_image=None)
    photos = Streams(MadeUp("photos", count=30, frames=1).load(8))
    whole = plan.draw(1, photos)
    torch.testing.assert_close(whole.eps[1][:4], 2 * torch.nn.functional.avg_pool2d(whole.eps[0], 2))
    assert abs(float(whole.eps[1][4:].std()) - 1) < 0.1
    for index in range(2):
        part = replace(plan, part=(index, 2)).draw(1, photos)
        assert all(torch.equal(x, y[index::2]) for x, y in zip(part.eps, whole.eps, strict=True))


def test_pixels_travel_as_bytes():
    plan = plan_of()
    drawn = plan.read(1, streams_of(plan))
    assert drawn["image"].dtype == drawn["still"].dtype == torch.uint8
    assert drawn["image"].shape[0] == 2 and drawn["still"].shape[0] == 4


def test_batches_for_a_gpu_are_pinned_and_sent_as_bytes(monkeypatch):
    plan = plan_of()
    pinned: list[torch.Tensor] = []
    sent: list[torch.dtype] = []
    to = torch.Tensor.to

    def without_gpu(self, target, **options):
        if target != torch.device("cuda"):
            return to(self, target, **options)
        assert options == {"non_blocking": True}
        sent.append(self.dtype)
        return self

    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: (pinned.append(self), self)[1])
    monkeypatch.setattr(torch.Tensor, "to", without_gpu)
    for device, count in (("cpu", 0), ("cuda", 2)):  # bytes of clips and of images
        (batch,) = read_batches(plan, streams_of(plan), 1, 2, device=torch.device(device))
        assert_equal(batch, plan.draw(1, streams_of(plan)))
        assert sent.count(torch.uint8) == count and len(pinned) == len(sent)


@pytest.mark.parametrize("noise", ["rows", "batch"])
@pytest.mark.parametrize("images", [None, PHOTOS], ids=["one set", "two sets"])
def test_workers_send_the_same_clips_and_images(images, noise):
    plan = plan_of(first_image=None if images is None else 3, noise=noise)
    streams = streams_of(plan, images)
    with closing(read_batches(plan, streams, 1, 4, workers=2)) as batches:
        for step, batch in enumerate(batches, 1):
            assert_equal(batch, plan.draw(step, streams))


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
