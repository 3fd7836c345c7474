"""Small entries of clips in which every kind of block, nesting and step appears."""

from __future__ import annotations

__all__ = ["CLIPS", "CLIPS_ALONE"]

#: Two levels of clips around a level of images: nested in space, then in time; with text.
CLIPS = """
name: clips
resolution: 16
frames: 8
head: {groups: 4}
defaults: {resnet: {groups: 4}, temporal_conv: {groups: 4}}
stages:
  r16f8: {width: 8, blocks: [resnet, temporal_conv]}
  r8f8: {width: 12}
nest:
  resolution: 8
  frames: 8
  head: {groups: 4}
  defaults: {resnet: {groups: 4}, attention: {groups: 4, heads: 2}, temporal_attention: {heads: 2}}
  stages:
    r8f8: {width: 8, attention: 1, temporal: 1}
    r8f4: {width: 12, blocks: [resnet, {block: temporal_attention, factor: 2, positions: none}]}
    r8f1: {width: 12}
  nest:
    resolution: 8
    inputs: {text: {width: 6, tokens: 5, project: 8}}
    head: {groups: 4}
    defaults: {resnet: {groups: 4}, attention: {groups: 4, heads: 2}}
    stages: {r8: {width: 8}, r4: {width: 12, attention: 1}}
"""

#: One level of clips with a step in pixels and time at once, and attention over frames in the middle.
CLIPS_ALONE = """
name: clips-alone
resolution: 8
frames: 12
inputs: {classes: 3}
skip: add
head: {groups: 4}
defaults:
  resnet: {groups: 4}
  attention: {groups: 4, heads: 2}
  temporal_attention: {heads: 2, feed_forward: false}
  temporal_conv: {groups: 4, kernel: 5}
stages:
  r8f12: {width: 8, blocks: [resnet, temporal_conv]}
  r4f4: {width: 8, attention: 1, temporal: 1}
"""
