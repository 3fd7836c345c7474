"""Networks built without drawing weights: on meta, where this imports torch's compiler, and before loading."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import zoo
from builders.networks.nested_unet import build_model
from builders.networks.uninitialized import uninitialized
from tests.helpers.paths import ROOT


class Operations(TorchDispatchMode):
    """Names of the operations that torch runs while it is active."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["mdm-nano", "mdm-nano.text", "mdm-nano-v"])
@pytest.mark.parametrize(("device", "initialize"), [("meta", True), ("meta", False), ("cpu", False)])
def test_no_weights_are_drawn(name, device, initialize):
    with Operations() as run:
        model = build_model(zoo.get(name).architecture, device, initialize)
    assert "empty" in run.names and not {"normal_", "uniform_", "empty_like"} & run.names
    assert {parameter.device.type for parameter in model.parameters()} == {device}


def test_weights_on_meta_are_those_of_the_network():
    built, meta = zoo.build("mdm-nano"), zoo.build("mdm-nano", device="meta")
    shapes = [
        [(name, value.shape, value.dtype, value.requires_grad) for name, value in model.named_parameters()]
        for model in (built, meta)
    ]
    assert shapes[0] == shapes[1] and list(built.state_dict()) == list(meta.state_dict())


def test_weights_are_drawn_outside_of_the_context():
    with uninitialized("cpu"):
        empty = torch.full((2,), 3.0)
        nn.init.normal_(tensor=empty)
        nn.init.normal_(empty)
        empty.uniform_()
        assert nn.Embedding(4, 4).weight.device.type == "cpu" and empty.tolist() == [3, 3]
    torch.manual_seed(0)
    layer = nn.Linear(4, 4)
    torch.manual_seed(0)
    assert layer.weight.device.type == "cpu" and layer.weight.std() > 0
    assert torch.equal(layer.weight, nn.Linear(4, 4).weight)


@pytest.mark.slow
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_building_without_weights_imports_neither_compiler_nor_sympy(device):
    code = f"""
import sys, zoo
from builders.networks.nested_unet import build_model
build_model(zoo.get("mdm-nano").architecture, {device!r}, initialize=False)
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
