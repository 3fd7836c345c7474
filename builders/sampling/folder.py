"""Samples as files, written as they are drawn: any number of them, in a folder that goes on where it was left.

``FOLDER/r64/000007-flags.png`` is the sample of seed 7 at level r64. Beside the images of each level a
``metadata.jsonl`` says what each was drawn for, in the form that Hugging Face's ``imagefolder`` and ``zoo data pack``
read. ``samples.json`` says how all of them were drawn.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.data.image_folder import SAMPLES
from builders.files import write_text
from builders.sampling.plan import Plan

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SampleFolder"]

#: Of a prompt in a file's name.
BYTES = 100


class SampleFolder:
    """A folder of samples.

    Args:
        folder: where; made if it is not there.
        plan: what is drawn.
        labels: of the levels, highest resolution first.
        facts: how it is drawn: all that decides the images beside the plan.

    Raises:
        ValueError: the folder holds samples that were drawn otherwise, or other files.
    """

    def __init__(self, folder: Path, plan: Plan, labels: Sequence[str], facts: Mapping[str, Any]) -> None:
        self.folder, self.plan, self.labels = folder, plan, tuple(labels)
        drawn = json.dumps([plan.seeds, plan.captions, plan.classes])
        self.facts = {**facts, "samples": len(plan), "drawn": hashlib.sha256(drawn.encode()).hexdigest()[:16]}
        self.names = self.names_of(plan)
        self._claim()

    @staticmethod
    def names_of(plan: Plan) -> list[str]:
        """The file of each sample: its seed, and what it is of."""
        digits = max(6, len(str(max(plan.seeds))))
        return [
            "-".join([str(seed).zfill(digits), *_words(caption)]) + ".png"
            for seed, caption in zip(plan.seeds, plan.captions, strict=True)
        ]

    def missing(self) -> list[int]:
        """The samples that lack a file at any level."""
        there = {label: {entry.name for entry in os.scandir(self.folder / label)} for label in self.labels}
        return [row for row, name in enumerate(self.names) if not all(name in there[label] for label in self.labels)]

    def write(self, rows: Sequence[int], levels: Sequence[Tensor]) -> None:
        """Write some samples, images (rows, channels, height, width) in [-1, 1] by level."""
        from builders.pictures import save_image
        from builders.pixels import to_pil

        for label, images in zip(self.labels, levels, strict=True):
            for row, image in zip(rows, images, strict=True):
                save_image(to_pil(image), self.folder / label / self.names[row])

    def read(self, rows: Sequence[int]) -> list[Tensor]:
        """Samples that were written, as :meth:`write` takes them."""
        import numpy as np
        import torch
        from PIL import Image

        from builders.pixels import to_float

        def load(path: Path) -> Tensor:
            with Image.open(path) as image:
                return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)

        paths = [[self.folder / label / self.names[row] for row in rows] for label in self.labels]
        return [to_float(torch.stack([load(path) for path in level])) for level in paths]

    def _claim(self) -> None:
        path = self.folder / SAMPLES
        if path.is_file():
            self._compare(path)
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise ValueError(f"{self.folder}: holds other files; choose a folder that is new or empty")
        self.folder.mkdir(parents=True, exist_ok=True)
        # First of all: by it a folder that was just begun is known again.
        write_text(path, json.dumps(self.facts, indent=2, ensure_ascii=False) + "\n")
        for label in self.labels:
            (self.folder / label).mkdir(exist_ok=True)
            lines = [json.dumps(facts, ensure_ascii=False) for facts in self._records()]
            write_text(self.folder / label / "metadata.jsonl", "\n".join(lines) + "\n")

    def _compare(self, path: Path) -> None:
        try:
            before = dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            raise ValueError(f"{path}: cannot be read; choose another folder") from None
        now = json.loads(json.dumps(self.facts))
        for key in {**now, **before} if before != now else ():
            if before.get(key) != now.get(key):
                what = "classes, prompts or seeds" if key == "drawn" else f"{key} {before.get(key)}, not {now.get(key)}"
                raise ValueError(f"{self.folder}: holds samples of other settings ({what}); choose another folder")

    def _records(self) -> list[dict[str, object]]:
        described = "caption" if self.plan.prompts is not None else "category"
        told = self.plan.prompts is not None or self.plan.classes is not None
        return [
            {"file_name": name, "seed": seed, **({described: caption} if told else {})}
            for name, seed, caption in zip(self.names, self.plan.seeds, self.plan.captions, strict=True)
        ]


def _words(caption: str) -> list[str]:
    """What a file is called after its number."""
    if caption.startswith("seed "):
        return []
    words = "".join(letter if letter.isalnum() else " " for letter in caption.lower()).split()
    # Bytes count, of which a letter may have four.
    text = "-".join(words).encode()[:BYTES].decode(errors="ignore").strip("-")
    return [text] if text else []
