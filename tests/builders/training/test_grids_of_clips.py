"""Grids of clips that a training run draws: a contact sheet, and an animation that is reported beside it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from builders.sampling.grid import Grid
from builders.training.observers import Observer
from builders.training.start import train
from builders.training.validation import draw_grid, draw_samples
from specs.recipe import load_recipe
from tests.helpers.clip_models import clip_model
from tests.helpers.shards import write_shard


def test_samples_are_shown_beside_training_clips() -> None:
    asked: list[int] = []

    def first(count: int) -> tuple[torch.Tensor, tuple[str, ...]]:
        asked.append(count)
        return torch.zeros(2, 3, 4, 16, 16, dtype=torch.uint8), ("one", "two")

    data: Any = SimpleNamespace(card=SimpleNamespace(classes=tuple("abcdefghi")), first=first)
    model = clip_model()
    grid = draw_samples(model, data, count=2, num_inference_steps=1)
    assert asked == [1000] and grid.animation is not None and len(grid.animation) == 4
    # An image, and the frames of two levels and of the nearest clip.
    assert grid.sheet.width == 2 * 16 + 64 + 3 * (16 + 4 * 67 - 3)
    again = draw_grid(model, data, count=2, num_inference_steps=1)
    assert np.array_equal(np.asarray(again), np.asarray(grid.sheet))


def test_the_animation_is_written_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Grids(Observer):
        def __init__(self) -> None:
            self.paths: list[Path] = []

        def on_grid(self, step: int, phase: str, grid: object, path: Path) -> None:
            assert path.is_file()
            self.paths.append(path)

    frames = np.stack([np.full((8, 8, 3), 80 * index, np.uint8) for index in range(3)])
    moving = Grid(Image.new("RGB", (8, 8)), frames)
    monkeypatch.setattr("builders.training.loop.draw_samples", lambda *_, **__: moving)
    data = write_shard(tmp_path / "data", list("abcdefghij") * 4)
    changes = ["phases.p8.steps=1", "phases.p8.batch=2", "phases.p16=null", "every={evaluate: 0}", f"data={data}"]
    observer = Grids()
    train(load_recipe("micro-test", changes), tmp_path / "run", observer=observer)
    assert [path.name for path in observer.paths] == ["p8-000001.png", "p8-000001.webp"]
    with Image.open(observer.paths[1]) as picture:
        assert picture.n_frames == 3  # type: ignore[attr-defined]
