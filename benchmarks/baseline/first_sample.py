"""One sample as a plain script draws it: build the network, load the weights, denoise, write a picture.

python -m benchmarks.baseline.first_sample sample.png
"""

from __future__ import annotations

import sys

import torch
from PIL import Image
from safetensors.torch import load_file

from benchmarks.baseline.diffusion import ddim, even_times
from benchmarks.baseline.network import PlainUNet, load_from
from builders.checkpoints.shipped import shipped_weights
from builders.diffusion.process import DiffusionProcess
from specs.load import load_entry


def main(path: str, entry: str = "mdm-nano", steps: int = 1) -> None:
    """Draw a sample of class 0 and write it."""
    graph = load_entry(entry).graph
    weights = shipped_weights(entry)
    assert weights is not None
    model = load_from(PlainUNet(graph), load_file(weights)).eval()
    torch.manual_seed(0)
    z = [torch.randn(1, level.channels, level.resolution, level.resolution) for level in graph.levels]

    def predict(z: list[torch.Tensor], t: int) -> list[torch.Tensor]:
        return model(z, torch.tensor([t]), classes=torch.tensor([0]))

    image = ddim(predict, z, DiffusionProcess(graph).schedules, even_times(1000, steps))[0][0]
    levels = ((image.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    Image.fromarray(levels.permute(1, 2, 0).numpy()).save(path)


if __name__ == "__main__":
    main(sys.argv[1])
