"""Trainings whose samples and held-out losses do not matter, and which therefore draw and measure little.

At the sizes of tests, drawing a grid and measuring the whole validation split take longer than all steps of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import pytest
from PIL import Image

from builders.sampling.grid import Grid
from builders.training import loop
from specs.schemas.held_out import ValidationSpec

__all__ = ["light_measures"]

#: Held-out images, or frames of clips, that are measured.
FEW = 12


def on_few(measure: Callable[..., Any]) -> Callable[..., Any]:
    """Return a measure of held-out losses on at most a few of the images that it is asked to measure."""

    @wraps(measure)
    def measured(*args: Any, spec: ValidationSpec, **options: Any) -> Any:
        few = spec.model_copy(update={"samples": min(FEW, spec.samples)})
        return measure(*args, spec=few, **options)

    return measured


@contextmanager
def light_measures() -> Iterator[None]:
    """Draw an empty picture at the end of phases, and measure held-out losses on a few images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "draw_samples", lambda *_, **__: Grid(Image.new("RGB", (4, 4))))
        for name in ("validation_losses", "log_snr_errors"):
            patch.setattr(loop, name, on_few(getattr(loop, name)))
        yield
