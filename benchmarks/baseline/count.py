"""Parameters and FLOPs of an entry as a plain script finds them: build it on meta, run it once under torch's counter.

python -m benchmarks.baseline.count mdm-s64
"""

from __future__ import annotations

import sys

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.baseline.network import PlainUNet
from specs.load import load_entry


@torch.no_grad()
def main(name: str, *, count: bool = True) -> None:
    """Print both, or only run the network."""
    graph = load_entry(name).graph
    with torch.device("meta"):
        model = PlainUNet(graph).eval()
        z = [torch.empty(1, level.channels, level.resolution, level.resolution) for level in graph.levels]
        given = {}
        if graph.text is not None:
            given["text"] = torch.empty(1, graph.text.tokens, graph.text.width)
            given["text_mask"] = torch.empty(1, graph.text.tokens)
        t = torch.empty(1, dtype=torch.int64)
        if not count:
            model(z, t, **given)
            return
        with FlopCounterMode(display=False) as counter:
            model(z, t, **given)
    print(f"{sum(value.numel() for value in model.parameters()):,} parameters, {counter.get_total_flops():,} FLOPs")


if __name__ == "__main__":
    main(sys.argv[1], count="--check" not in sys.argv)
