"""Runs that are extended: more steps of the last phase, more phases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builders.checkpoints.tensor_file import CheckpointError, read_tensors
from builders.training.json_log import JsonLog
from builders.training.loop import Interrupted
from builders.training.start import train
from specs.recipe import Recipe, load_recipe
from tests.helpers.shards import write_shard

pytestmark = pytest.mark.usefixtures("light_measures")

SMALL = [
    "data=./data", "schedule={warmup: 2, decay: constant}",
    "phases.p8.steps=4", "phases.p8.batch=2", "phases.p16.steps=2", "phases.p16.batch=2",
    "every={checkpoint: 0, evaluate: 0, samples: 0, monitor: 3}",
]  # fmt: skip
ONE = [*SMALL, "phases.p16=null"]


def recipe(*changes: str) -> Recipe:
    return load_recipe("micro-test", [*ONE, *changes])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shard(tmp_path_factory.mktemp("set") / "data", list("abcdefghij") * 4)


@pytest.fixture(autouse=True)
def quick(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data.parent)


def run(which: Recipe, folder: Path, stop_after: int | None = None) -> None:
    count = iter(range(1, 1000))
    try:
        train(which, folder, observer=JsonLog(), stop=lambda: next(count) == stop_after)
    except Interrupted:
        assert stop_after is not None


def steps(folder: Path) -> list[int]:
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [record["step"] for record in records if "loss" in record]


def assert_equal(one: Path, other: Path) -> None:
    for name in ("state.safetensors", "ema.safetensors"):
        (a, facts), (b, same) = read_tensors(one / name), read_tensors(other / name)
        assert set(a) == set(b) and all(a[key].equal(b[key]) for key in a), name
        assert facts == same


@pytest.mark.parametrize("stop_after", [3, pytest.param(None, marks=pytest.mark.slow)])
def test_a_longer_phase_is_that_of_an_uninterrupted_run(tmp_path: Path, stop_after: int | None) -> None:
    run(recipe(), tmp_path / "run", stop_after)
    run(recipe("phases.p8.steps=7"), tmp_path / "run")
    run(recipe("phases.p8.steps=7"), tmp_path / "straight")
    assert_equal(tmp_path / "run", tmp_path / "straight")
    assert steps(tmp_path / "run") == [1, 2, 3, 4, 5, 6, 7]
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["phases"]["p8"]["steps"] == 7


@pytest.mark.slow
def test_further_phases_continue_a_finished_run(tmp_path: Path) -> None:
    run(recipe(), tmp_path / "run")
    longer = load_recipe("micro-test", SMALL)
    run(longer, tmp_path / "run")
    run(longer, tmp_path / "straight")
    assert_equal(tmp_path / "run", tmp_path / "straight")
    run(load_recipe("micro-test", [*SMALL, "phases.p16-more={train: r16, steps: 1, batch: 2}"]), tmp_path / "run")
    assert steps(tmp_path / "run") == [1, 2, 3, 4, 5, 6, 7]


def test_a_later_phase_may_have_another_length(tmp_path: Path) -> None:
    run(load_recipe("micro-test", SMALL), tmp_path, stop_after=2)
    run(load_recipe("micro-test", [*SMALL, "phases.p16.steps=1"]), tmp_path)
    assert steps(tmp_path) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        (
            "schedule.decay=cosine",
            "phases.p8.steps=9",
            r"cannot continue at another length \(phases.p8: 4 steps, now 9 steps; the learning rate decays over the "
            r"phase \(cosine\).*; add a phase instead: --set 'phases.p8-more={train: r8, steps: 5, batch: 2}'",
        ),
        ("schedule.decay=cosine", "phases.p8.steps=6", r"so its steps would differ; add a phase instead"),
        ("schedule.warmup=6", "phases.p8.steps=9", r"the warmup of 6 steps is longer than the phase.*phases\.p8-more"),
        ("seed=0", "phases.p8.steps=3", "4 steps are done, so choose more: --set phases.p8.steps=N"),
        ("seed=0", "phases.p8={train: r8, hours: 1, batch: 2}", "4 steps, now 1.0 hours; the unit cannot change"),
        ("seed=0", "phases.p8={train: r8, steps: 9, batch: 4}", r"differs in phases.p8.batch \(2, now 4\)"),
        (
            "seed=0",
            "optimizer.learning_rate=0.5",
            r"differs in optimizer.learning_rate.*; use that recipe to resume \(zoo train \S+/recipe.json -o \S+\), or",
        ),
    ],
)
def test_what_would_change_the_steps_that_are_done_is_refused(
    first: str, then: str, message: str, tmp_path: Path
) -> None:
    run(recipe(first), tmp_path)
    before = (tmp_path / "state.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match=message):
        run(recipe(*([] if "phases.p8={" in then else [first]), then), tmp_path)
    assert (tmp_path / "state.safetensors").read_bytes() == before


def test_the_advice_for_a_phase_that_decays_helps(tmp_path: Path) -> None:
    run(recipe("schedule.decay=cosine"), tmp_path)
    run(recipe("schedule.decay=cosine", "phases.p8-more={train: r8, steps: 5, batch: 2}"), tmp_path)
    assert len(steps(tmp_path)) == 9


def test_phases_that_are_done_cannot_change(tmp_path: Path) -> None:
    run(load_recipe("micro-test", SMALL), tmp_path)
    with pytest.raises(CheckpointError, match=r"phases\.p8\.steps \(4, now 5\).*to train longer.*p16\.steps=N"):
        run(load_recipe("micro-test", [*SMALL, "phases.p8.steps=5"]), tmp_path)
    with pytest.raises(CheckpointError, match=r"differs in phases\.p16 \(removed\);"):
        run(recipe(), tmp_path)


def test_weights_hold_no_absolute_paths_and_find_their_data(data: Path, tmp_path: Path) -> None:
    from registry.weights import data_of, load_weights

    run(recipe(f"data={data}"), tmp_path / "run")
    files = [tmp_path / "run" / "ema.safetensors", *(tmp_path / "run" / "checkpoints").glob("best-*")]
    assert len(files) == 2
    for file in files:
        assert str(data.parent).encode() not in file.read_bytes() and b'"./data' in file.read_bytes().replace(
            b"\\", b""
        )
        _, metadata = load_weights(file)
        assert data_of(metadata) == str(data)
    elsewhere = tmp_path / "w.safetensors"
    elsewhere.write_bytes(files[0].read_bytes())
    assert data_of(load_weights(elsewhere)[1]) == "./data"
