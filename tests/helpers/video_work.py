"""What worker processes of a pack of clips do in tests, by the name of the video."""

from __future__ import annotations

import os
import time

from builders.data.packing.clips.encode import EncodedVideo
from builders.data.packing.shard import PackSettings
from builders.data.packing.source import Source
from builders.video.clip import VideoUnavailableError

__all__ = ["work"]


def work(source: Source, settings: PackSettings) -> EncodedVideo:
    """Sleep without end, die, lack PyAV, or return the process that did it."""
    if source.key == "endless":
        time.sleep(600)
    if source.key == "deadly":
        os._exit(11)
    if source.key == "lacking":
        raise VideoUnavailableError("install PyAV")
    return EncodedVideo("short", problem=f"{source.key} {os.getpid()}")
