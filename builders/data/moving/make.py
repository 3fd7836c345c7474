"""Writing moving emoji as shards of clips, resumable: ``zoo data make moving-emoji``."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from builders.data.dataset import Dataset
from builders.data.dataset_card import CARD, PLAN
from builders.data.errors import PackError
from builders.data.moving.images import MovingImages
from builders.data.moving.motions import MOTIONS, SEED
from builders.data.moving.render import SIDE
from builders.data.packing.clips.encode import CRF, PIXELS
from builders.data.packing.clips.run import encoder_name
from builders.data.packing.clips.shard import add_clip
from builders.data.packing.shard import Report
from builders.files import read_json, remove_temporaries, replacing, write_text
from builders.video.pyav import encode_mp4

__all__ = ["Made", "make"]

#: Clips per shard.
PER_SHARD = 1000


@dataclass(frozen=True, slots=True)
class Made:
    """Shards that were written.

    Attributes:
        folder: Folder of the dataset.
        samples: Number of clips by split.
        shards: Number of shards.
        kept: Number of shards that were already there.
    """

    folder: Path
    samples: dict[str, int]
    shards: int
    kept: int


@dataclass(frozen=True, slots=True)
class _Shard:
    path: str
    clips: range
    data: MovingImages
    lossless: bool

    @property
    def identity(self) -> str:
        """Hash of all that the bytes of the shard depend on."""
        facts = [SEED, self.lossless, CRF, PIXELS, encoder_name(), [path.stat().st_size for path in self.data.shards]]
        keys = [self.data.facts(index) for index in self.clips]
        return hashlib.sha256(json.dumps([facts, keys]).encode()).hexdigest()


def make(
    dataset: Dataset,
    out: str | Path,
    clips: int = 1,
    *,
    lossless: bool = False,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Made:
    """Write the clips of a rendered dataset as shards with a ``dataset.yaml``. The same command resumes.

    Equal arguments give equal bytes with one version of PyAV.

    Args:
        dataset: Rendered dataset.
        out: Folder to write to.
        clips: Clips of each emoji, from 1 to 9, each with another motion.
        lossless: Whether pixels are stored exactly.
        progress: Called with the number of clips written and the number of all clips.

    Raises:
        PackError: ``clips`` is not from 1 to 9, PyAV is not installed, or the folder holds other data.
        OSError: The folder cannot be written to.
        builders.data.errors.DataError: The dataset is stored and not rendered.
    """
    if not 1 <= clips <= len(MOTIONS):
        raise PackError(f"the clips of each emoji must be from 1 to {len(MOTIONS)}, one a motion, not {clips}")
    if not dataset.card.rendered_from:
        raise PackError(f"{dataset.card.name} is stored, not rendered; use it as it is")
    out, encoder = Path(out), encoder_name()
    shards = _plan(dataset, clips, lossless)
    _claim(out, {"make": dataset.card.name, "clips": clips, "lossless": lossless})
    waiting = [shard for shard in shards if not _is_finished(shard, out)]
    total = sum(len(shard.clips) for shard in shards)
    done = total - sum(len(shard.clips) for shard in waiting)
    progress(done, total)
    if waiting:
        (out / CARD).unlink(missing_ok=True)
    for shard in waiting:
        _write(shard, dataset, out)
        done += len(shard.clips)
        progress(done, total)
    samples = _write_card(dataset, out, shards, encoder)
    remove_temporaries(out)
    return Made(out, samples, len(shards), len(shards) - len(waiting))


def _plan(dataset: Dataset, clips: int, lossless: bool) -> list[_Shard]:
    shards = []
    for split in dataset.shards:
        data = dataset.load(split=split, frames=dataset.card.frames, memory=False)
        assert isinstance(data, MovingImages)
        count = clips * len(data) // len(MOTIONS)
        shards += [
            _Shard(f"{split}-{start // PER_SHARD:06d}.tar", range(start, min(count, start + PER_SHARD)), data, lossless)
            for start in range(0, count, PER_SHARD)
        ]
    return shards


def _claim(out: Path, plan: dict[str, object]) -> None:
    """Claim a folder for these clips."""
    out.mkdir(parents=True, exist_ok=True)
    if (out / PLAN).exists():
        if _read_plan(out / PLAN) != plan:
            raise PackError(f"{out} holds a pack of other data or settings; choose another folder or empty it")
    elif (out / CARD).exists() or any(out.glob("*.tar")):
        raise PackError(f"{out} already holds a dataset; choose another folder")
    write_text(out / PLAN, json.dumps(plan) + "\n")


def _read_plan(path: Path) -> object:
    try:
        return read_json(path)
    except ValueError:
        return None


def _is_finished(shard: _Shard, out: Path) -> bool:
    report, path = Report.read(_report(shard, out)), out / shard.path
    return (
        report is not None
        and report.identity == shard.identity
        and path.is_file()
        and report.size == path.stat().st_size
    )


def _report(shard: _Shard, out: Path) -> Path:
    return out / f".{shard.path}.json"


def _write(shard: _Shard, dataset: Dataset, out: Path) -> None:
    """Write a shard and then its report."""
    # Synced to disk, so that a report never outlives its shard.
    with replacing(out / shard.path, sync=True) as temporary:
        with tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as tar:
            for index in shard.clips:
                _add_clip(tar, shard, index, float(dataset.card.rate or 0))
        size = temporary.stat().st_size
    report = Report(len(shard.clips), (), 0, shard.identity, size)
    write_text(_report(shard, out), json.dumps(asdict(report)) + "\n")


def _add_clip(tar: tarfile.TarFile, shard: _Shard, index: int, rate: float) -> None:
    frames, facts = shard.data.clip(index), shard.data.facts(index)
    content = encode_mp4(frames, rate, crf=CRF, pixel_format=PIXELS, lossless=shard.lossless)
    key = facts.pop("key")
    add_clip(tar, key, content, facts, frames=len(frames), rate=rate, start=0.0, scale=SIDE)


def _write_card(dataset: Dataset, out: Path, shards: Sequence[_Shard], encoder: str) -> dict[str, int]:
    """Write the card, and return the number of clips by split."""
    import yaml

    samples = {split: sum(len(s.clips) for s in shards if s.data.split == split) for split in dataset.shards}
    stored = {split: [shard.path for shard in shards if shard.data.split == split] for split in samples}
    card = dataset.card.model_dump(exclude={"rendered_from", "splits", "encoder"}, exclude_defaults=True) | {
        "encoder": encoder,
        "classes": list(dataset.classes),
        "splits": {split: {"shards": stored[split], "samples": count} for split, count in samples.items()},
    }
    write_text(out / CARD, yaml.safe_dump(card, sort_keys=False, allow_unicode=True))
    return samples
