"""Write a model as YAML, check it, and run the network once."""

import tempfile
from pathlib import Path

import torch

import zoo
from specs.errors import SpecError

SPEC = """
name: my-model
summary: 32x32 class-conditional, a 16-pixel level inside.
resolution: 32
stages:
  r32: {width: 32, depth: 1}
  r16: {width: 32, depth: 1}
nest:
  resolution: 16
  inputs: {classes: 10}
  stages:
    r16: {width: 32, depth: 1}
    r8:  {width: 64, depth: 1, attention: 1}
"""

path = Path(tempfile.mkdtemp()) / "my-model.yaml"
path.write_text(SPEC, encoding="utf-8")

# An error names file, line and column. In the shell: zoo check my-model.yaml
broken = path.with_name("broken.yaml")
broken.write_text(SPEC.replace("depth: 1}", "dept: 1}", 1), encoding="utf-8")
try:
    zoo.get(broken)
except SpecError as error:
    print(error, "\n")

# Costs come from the blocks' rules. Nothing is allocated.
entry = zoo.get(path)
for level in entry.card().levels:
    print(f"{level.label}: {level.parameters:,} parameters, {level.flops / 1e6:.0f} MFLOPs")

# z holds one noisy batch per level, the highest resolution first. The prediction has the same shapes.
model = zoo.build(entry)
context = model.encode(classes=torch.tensor([3, 7]))
z = [torch.randn(2, 3, 32, 32), torch.randn(2, 3, 16, 16)]
for prediction in model(z, t=500, context=context):
    print(tuple(prediction.shape))
