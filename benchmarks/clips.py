"""CPU time of reading clips: moving emoji rendered when drawn, and the same clips from shards.

zoo data make moving-emoji moving
OMP_NUM_THREADS=1 python benchmarks/clips.py moving
"""

from __future__ import annotations

import sys
import time

from builders.data.open import open_dataset

SIZES = ((64, 16), (32, 8), (16, 8), (16, 1))
CLIPS = 180


def main(folder: str) -> None:
    """Print milliseconds of CPU time per clip."""
    for name in ("moving-emoji", folder):
        for resolution, frames in SIZES:
            data = open_dataset(name).load(resolution, "val", frames=frames, memory=False)
            data.batch(0, 1)
            start = time.process_time()
            for first in range(0, CLIPS, 12):
                data.batch(first, 12)
            spent = (time.process_time() - start) / CLIPS
            print(f"{name}: {resolution} px, {frames} frames: {1000 * spent:.1f} ms")


if __name__ == "__main__":
    main(sys.argv[1])
