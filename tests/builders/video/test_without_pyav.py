"""Without PyAV, videos say what to install."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from builders.video import pyav
from builders.video.clip import VideoError, VideoUnavailableError


@pytest.fixture
def missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    pyav._av.cache_clear()
    yield
    pyav._av.cache_clear()


def test_what_to_install(missing):
    frames = np.zeros((1, 2, 2, 3), np.uint8)
    for call in (pyav.pyav_version, lambda: pyav.decode_clip(b"", "a"), lambda: pyav.encode_mp4(frames, 8)):
        with pytest.raises(VideoError) as error:
            call()
        assert str(error.value) == 'videos need PyAV; install it with: pip install "matryoshka-zoo[video]"'


def test_a_missing_encoder_is_named(monkeypatch):
    monkeypatch.setattr(pyav, "_LOSSLESS", ("libnone", "rgb24", {}))
    with pytest.raises(VideoUnavailableError, match="this PyAV has no encoder libnone"):
        pyav.encode_mp4(np.zeros((1, 2, 2, 3), "u1"), 8, lossless=True)
