"""Folders of samples: files that are written as they are drawn, and skipped when drawing resumes.

``FOLDER/r64/000007-flags.png`` is the sample of seed 7 at level r64, ``FOLDER/r64f16/000007-flags.mp4`` its clip at
level r64f16. ``metadata.jsonl`` beside the files of each level holds their seeds and captions, in the format of Hugging
Face's ``imagefolder`` and of ``zoo data pack``. ``samples.json`` holds the settings.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from builders.data.image_folder import SAMPLES
from builders.files import read_json, write_text
from builders.pictures import save_image
from builders.pixels import from_frames, to_float, to_frames, to_pil
from builders.sampling.clip_files import ClipFormat
from builders.sampling.plan import Plan
from specs.blocks.size import Size

__all__ = ["SampleFolder"]

#: Facts that differ if the folder gets more samples.
_DRAWN = ("samples", "drawn")
#: Length of the caption in a file name, in bytes.
CAPTION_BYTES = 100


class SampleFolder:
    """A folder of samples. One that has fewer samples of each class or prompt gets the others.

    Args:
        folder: Path of the folder, created if it does not exist.
        plan: Samples to draw.
        labels: Labels of the levels, outermost first.
        facts: Everything else that determines the images, such as weights and sampler settings.
        clips: Sizes of the levels of several frames, by label.
        clip_format: How clips are written.

    Attributes:
        plan: Samples of the folder: those it had before, and those that are missing.
        names: Name of each sample's files, without the suffix.

    Raises:
        ValueError: The folder holds samples with other settings, or other files.
    """

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        labels: Sequence[str],
        facts: Mapping[str, Any],
        *,
        clips: Mapping[str, Size] | None = None,
        clip_format: ClipFormat | None = None,
    ) -> None:
        self.folder, self.labels = folder, tuple(labels)
        self.clips, self.clip_format = dict(clips or {}), clip_format or ClipFormat()
        if self.clips:
            facts = {**facts, "clips": self.clip_format.suffix, "frame_rate": self.clip_format.rate}
        self._set_plan(plan, facts)
        self._extended: Any = None
        self._claim()

    def _set_plan(self, plan: Plan, facts: Mapping[str, Any]) -> None:
        drawn = json.dumps([plan.seeds, plan.captions, plan.classes])
        self.plan, self.names = plan, self.names_of(plan)
        self.facts = {**facts, "samples": len(plan), "drawn": hashlib.sha256(drawn.encode()).hexdigest()[:16]}

    @staticmethod
    def names_of(plan: Plan) -> list[str]:
        """Return the file name of each sample without its suffix, from its seed and caption."""
        digits = max(6, len(str(max(plan.seeds))))
        names = []
        for seed, caption in zip(plan.seeds, plan.captions, strict=True):
            number, words = str(seed).zfill(digits), "" if caption.startswith("seed ") else _words(caption)
            names.append(f"{number}-{words}" if words else number)
        return names

    def file_name(self, row: int, label: str) -> str:
        """Return the file name of a sample at a level."""
        return f"{self.names[row]}.{self.clip_format.suffix if label in self.clips else 'png'}"

    def missing(self) -> list[int]:
        """Return the indices of the samples without a file at every level."""
        exist = {label: {entry.name for entry in os.scandir(self.folder / label)} for label in self.labels}
        rows = range(len(self.names))
        return [row for row in rows if not all(self.file_name(row, label) in exist[label] for label in self.labels)]

    def write(self, rows: Sequence[int], levels: Sequence[Tensor]) -> None:
        """Write some of the samples.

        Args:
            rows: Indices of the samples.
            levels: Images (rows, channels, height, width), or clips (rows, channels, frames, height, width), in [-1, 1]
                by level, outermost first.
        """
        for label, images in zip(self.labels, levels, strict=True):
            for row, image in zip(rows, images, strict=True):
                path = self.folder / label / self.file_name(row, label)
                if label in self.clips:
                    self.clip_format.write(to_frames(image), path)
                else:
                    save_image(to_pil(image), path)

    def read(self, rows: Sequence[int]) -> list[Tensor]:
        """Read some of the samples, by level as for :meth:`write`."""

        return [torch.stack([self._load(row, label) for row in rows]) for label in self.labels]

    def _load(self, row: int, label: str) -> Tensor:
        path = self.folder / label / self.file_name(row, label)
        if label in self.clips:
            return from_frames(self.clip_format.read(path, self.clips[label]))
        with Image.open(path) as image:
            return to_float(torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1))

    def _claim(self) -> None:
        """Create the folder, or check that it is one of the same samples."""
        path = self.folder / SAMPLES
        if path.is_file():
            self._compare(path)
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise ValueError(f"{self.folder}: holds other files; choose a folder that is new or empty")
        # Written first, so that an interrupted start can be resumed.
        write_text(path, json.dumps(self.facts, indent=2, ensure_ascii=False) + "\n")
        for label in self.labels:
            lines = [json.dumps(record, ensure_ascii=False) for record in self._records(label)]
            write_text(self.folder / label / "metadata.jsonl", "\n".join(lines) + "\n")

    def _compare(self, path: Path) -> None:
        try:
            before = dict(read_json(path))
        except (OSError, ValueError, TypeError):
            raise ValueError(f"{path}: cannot be read; choose another folder") from None
        self._extend(before)
        now = json.loads(json.dumps(self.facts))
        for key in {**now, **before}:
            if key in _DRAWN and self.facts["drawn"] == self._extended:
                continue
            if before.get(key) != now.get(key):
                what = "classes, prompts or seeds" if key == "drawn" else f"{key} {before.get(key)}, not {now.get(key)}"
                raise ValueError(f"{self.folder}: holds samples with other settings ({what}); choose another folder")

    def _extend(self, before: Mapping[str, Any]) -> None:
        """Take over the samples of a folder that has fewer of them, so that only the others are drawn."""
        if before.get("drawn") == self.facts["drawn"]:
            return
        try:
            lines = (self.folder / self.labels[0] / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
            records = [json.loads(line) for line in lines]
            seeds = [int(record["seed"]) for record in records]
            captions = [str(record.get("caption", record.get("category", ""))) for record in records]
            plan = self.plan.extending(seeds, captions)
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return
        if plan is not None:
            self._set_plan(plan, self.facts)
            self._extended = self.facts["drawn"]

    def _records(self, label: str) -> list[dict[str, object]]:
        """Return the metadata of each file of a level."""
        records: list[dict[str, object]] = []
        for row, (seed, caption) in enumerate(zip(self.plan.seeds, self.plan.captions, strict=True)):
            records.append({"file_name": self.file_name(row, label), "seed": seed})
            if self.plan.prompts is not None:
                records[-1]["caption"] = caption
            elif self.plan.classes is not None:
                records[-1]["category"] = caption
        return records


def _words(caption: str) -> str:
    """Return a caption for use in a file name."""
    words = "".join(letter if letter.isalnum() else " " for letter in caption.lower()).split()
    # Cut by bytes; a character may have four.
    return "-".join(words).encode()[:CAPTION_BYTES].decode(errors="ignore").strip("-")
