"""Sampling never reads a number from the device: on a GPU, every step would wait for it."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from builders.diffusion.process import DiffusionProcess
from builders.networks.nested_unet import build_model
from builders.sampling.sampler import sample
from specs.load import load_entry
from specs.schemas.sampling import SAMPLERS, SamplerSettings

#: What reads a number of a tensor.
READ = ("item", "tolist", "__bool__", "__float__", "__int__", "__index__", "__iter__", "cpu", "numpy")


class Reads(TorchDispatchMode):
    """Counts numbers that are read, and copies between tensors of the host and of the device."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.found[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def drawing():
    model = build_model(load_entry("mdm-micro").graph).eval()
    with torch.no_grad():
        return model, DiffusionProcess(model.graph), model.encode(classes=torch.tensor([1])), model.encode()


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("spacing", ["index", "logsnr"])
def test_no_number_is_read(drawing, monkeypatch, sampler, spacing):
    model, process, context, unconditional = drawing
    read = []

    def counted(name):
        real = getattr(torch.Tensor, name)
        return lambda self, *args, **kwargs: (read.append(name), real(self, *args, **kwargs))[1]

    for name in READ:
        monkeypatch.setattr(torch.Tensor, name, counted(name))
    settings = SamplerSettings(sampler, 6, 2.0, eta=0.5 * (sampler == "ddim"), spacing=spacing)
    with Reads() as reads:
        sample(model, context, process, settings, seeds=[0], unconditional=unconditional)
    assert reads.found["convolution"] > 0  # the mode sees the network
    assert reads.found["_local_scalar_dense"] == 0 and not set(read) - {"numpy"}
