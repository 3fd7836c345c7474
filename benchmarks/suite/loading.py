"""Reading images."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.baseline.loading import PlainImages
from benchmarks.suite.comparing import Comparison, Options, compare
from builders.data.dataset import Dataset, with_reduced
from builders.data.images import Images
from builders.data.open import open_dataset
from builders.data.packing.pack import PackSettings, pack
from builders.data.packing.sources import find_sources

__all__ = ["loading", "photographs"]

ROWS = 8


def photographs(folder: Path, count: int, side: int) -> list[Path]:
    """Write JPEG files of noise with amplitudes proportional to 1/f, as photographs have; return their paths."""
    folder.mkdir()
    random = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1
    paths = []
    for index in range(count):
        spectrum = np.fft.rfft2(random.standard_normal((3, side, side))) / frequency
        spectrum[:, 0, 0] = 0
        image = np.fft.irfft2(spectrum)
        levels = (128 + 50 * image / image.std()).clip(0, 255).astype(np.uint8)
        paths.append(folder / f"{index:05}.jpg")
        Image.fromarray(levels.transpose(1, 2, 0)).save(paths[-1], quality=90)
    return paths


def loading(options: Options) -> Iterator[Comparison]:
    """Measure batches of JPEG images of 256 pixels, and of 1,024 pixels made smaller to 256, from cached files."""
    count, shrink = (ROWS, 4) if options.quick else (4 * ROWS, 1)
    for stored in (256, 1024):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            paths = photographs(folder / "images", count, stored // shrink)
            pack(find_sources(folder / "images"), folder / "set", "photographs", PackSettings(val=False))
            side = 256 // shrink
            plain, zoo = PlainImages(paths, side), _trained_on(folder / "set", side)
            case = f"JPEG of {stored // shrink:,} px at {side} px, {ROWS} images"
            yield compare("loading", case, _turns(plain), _turns(zoo), options, device="cpu")


def _trained_on(folder: Path, side: int) -> Images:
    """Return the images of a data set as trainings read them."""
    data = open_dataset(folder)
    assert isinstance(data, Dataset)
    return with_reduced(data).load(side, memory=False)


def _turns(images: Any) -> Callable[[], object]:
    """Return a function that reads the next batch."""
    starts = iter(range(0, 10**9, ROWS))
    return lambda: images.batch(next(starts), ROWS)
