"""A tiny recipe that trains on clips and images: its entry, its shards, and the file of the recipe."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.clips import clip_samples
from tests.helpers.shards import samples, write_tar

__all__ = ["ENTRY", "write_recipe"]

#: Clips of 16 pixels around clips of 8 pixels around one frame.
ENTRY = """\
name: micro-v
resolution: 16
frames: 4
defaults: {resnet: {groups: 4}, temporal_conv: {groups: 4}}
head: {groups: 4}
stages:
  r16f4: {width: 8, blocks: [resnet, temporal_conv]}
  r8f4:  {width: 8}
nest:
  resolution: 8
  frames: 4
  defaults: {resnet: {groups: 4}, temporal_attention: {heads: 2}}
  head: {groups: 4}
  stages:
    r8f4: {width: 8, temporal: 1}
    r8f1: {width: 8}
  nest:
    resolution: 8
    inputs: {classes: 2}
    defaults: {resnet: {groups: 4}, attention: {groups: 4, heads: 2}}
    head: {groups: 4}
    stages:
      r8: {width: 8}
      r4: {width: 8}
"""
RECIPE = """\
name: mixed
entry: ./micro-v.yaml
data: ./clips.tar
images: ./photos.tar
optimizer: {learning_rate: 2e-3}
schedule: {warmup: 2, decay: cosine}
ema: 0.9
loss: {space: v}
every: {checkpoint: 2, evaluate: 0, monitor: 2}
phases:
  p8:   {train: r8, steps: 3, batch: 4}
  p8v:  {train: r8f4, steps: 4, batch: {r8f4: 2, r8: 5}}
  p16v: {train: r16f4, steps: 3, batch: {r16f4: 2, r8f4: 3, r8: 5}}
"""


def write_recipe(folder: Path) -> Path:
    """Write a recipe with its entry, 24 clips of 4 frames with two classes, and 24 images without a class."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tar(folder / "clips.tar", clip_samples(24))
    write_tar(folder / "photos.tar", samples(24, category=""))
    (folder / "micro-v.yaml").write_text(ENTRY)
    path = folder / "mixed.yaml"
    path.write_text(RECIPE)
    return path
