"""Files of small recipes."""

from __future__ import annotations

from pathlib import Path

__all__ = ["BASE", "write"]

BASE = """\
name: {name}
entry: mdm-micro
data: noto-emoji-64
optimizer: {{learning_rate: 1e-3}}
schedule: {{warmup: 5, decay: cosine}}
loss: {{space: v}}
phases:
  p8:  {{train: r8, steps: 10, batch: 4}}
  p16: {{train: r16, steps: 10, batch: {{r16: 2, r8: 4}}}}
"""


def write(folder: Path, name: str, text: str = BASE) -> Path:
    """Write a recipe; in ``BASE``, its name is filled in."""
    path = folder / f"{name}.yaml"
    path.write_text(text.format(name=name) if text is BASE else text)
    return path
