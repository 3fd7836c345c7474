"""A small study of arms."""

from __future__ import annotations

from pathlib import Path

__all__ = ["MINI", "write_study"]

MINI = """\
name: mini
data: noto-emoji-64
base:
  entry: mdm-micro
  optimizer: {learning_rate: 1e-3}
  loss: {space: v}
  every: {checkpoint: 0, evaluate: 0}
  validation: {samples: 4, draws: 1, log_snr_draws: 0}
  phases:
    p8: {train: r8, share: 0.4, batch: 4}
arms:
  plain: {}
  fast: {recipe: {optimizer: {learning_rate: 2e-3}}}
seeds: 2
budget: {training_flops: 1e8, tolerance: 0.7}
measures: {p1: {draws: 1, samples: 4}}
contrasts:
  rate: {arms: [fast, plain], measure: p1, primary: true, effect: 0.1, spread: 0.05}
"""


def write_study(folder: Path, *changes: tuple[str, str], name: str = "mini") -> Path:
    """Write the study with some text replaced; return its file."""
    text = MINI
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path
