"""Plans of samples that extend samples which are there already."""

from __future__ import annotations

from builders.sampling.plan import Plan


def test_samples_that_are_there_stay_and_others_take_unused_seeds():
    plan = Plan(tuple(range(8)), ("a",) * 4 + ("b",) * 4, classes=(0,) * 4 + (1,) * 4)
    found = plan.extending(range(6), ["a"] * 3 + ["b"] * 3)
    assert found is not None and found.seeds == (0, 1, 2, 6, 3, 4, 5, 7)
    assert found.captions == plan.captions and found.classes == plan.classes
    assert found.extending(found.seeds, found.captions) == found == plan.extending(found.seeds, found.captions)


def test_unconditional_samples_are_named_by_their_seed():
    plan = Plan((5, 6, 7), ("seed 5", "seed 6", "seed 7"))
    assert plan.extending((5, 6), ("", "")) == plan


def test_other_samples_are_not_extended():
    plan = Plan((0, 1), ("a", "b"), prompts=("a", "b"))
    for seeds, captions in [((1,), ("a",)), ((0, 1), ("a", "a")), ((0,), ("c",)), ((), ()), ((0, 0), ("a", "b"))]:
        assert plan.extending(seeds, captions) is None
