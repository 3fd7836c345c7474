"""From images with captions or labels to webdataset shards with a ``dataset.yaml``: in parallel, resumable.

Equal sources give equal bytes: samples are sorted, and files carry no dates. A pack that was stopped keeps its finished
shards and goes on.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from PIL import Image

from builders.broken import SAMPLES
from builders.data import is_held_out
from builders.dataset_card import CARD
from builders.decoding import decode_image, fit
from builders.pack_sources import PackError, Source
from builders.shards import DataError

__all__ = ["PackSettings", "Packed", "pack"]

RESIZES = ("center-crop", "fit", "none")
PLAN = ".pack.json"


@dataclass(frozen=True, slots=True)
class PackSettings:
    """How a dataset is packed.

    Attributes:
        resolution: side in pixels; None keeps images as they are.
        resize: "center-crop" (a square), "fit" (the shorter side, the picture whole), or "none".
        held_out: whether about one sample in ten is put into a split of its own, by a hash of its group.
        samples_per_shard: at most so many samples a shard.
        max_broken: share of samples that may be broken; ten may in any case.
        licence: of the images.
        attribution: whom to name.
    """

    resolution: int | None = None
    resize: str = "center-crop"
    held_out: bool = True
    samples_per_shard: int = 1000
    max_broken: float = 0.01
    licence: str = "not stated"
    attribution: str = ""


@dataclass(frozen=True, slots=True)
class Packed:
    """What was written: samples by split, and what was passed over."""

    folder: Path
    samples: dict[str, int]
    classes: tuple[str, ...]
    broken: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Shard:
    path: str
    sources: tuple[Source, ...]


def pack(
    sources: Sequence[Source],
    out: str | Path,
    name: str,
    settings: PackSettings | None = None,
    *,
    workers: int = 0,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Packed:
    """Write shards and their card.

    Args:
        sources: what to pack, from :mod:`builders.pack_sources`.
        out: folder; shards of the same pack that are there already are kept.
        name: of the dataset.
        settings: how.
        workers: processes; 0 packs in this one.
        progress: told samples done and all.

    Raises:
        PackError: nothing to pack, a folder that holds another pack, settings that do not fit, or too many broken
            images.
        OSError: the folder cannot be written to.
    """
    settings = settings or PackSettings()
    _check(settings)
    out = Path(out)
    shards = _plan(sources, settings)
    _claim(out, sources, settings)
    done, total = 0, len(sources)
    broken: list[str] = []
    counts = {}
    waiting = [shard for shard in shards if not _report(out, shard).is_file()]
    for shard in shards:
        if shard not in waiting:
            done += len(shard.sources)
    progress(done, total)
    for shard in _run(waiting, out, settings, workers):
        done += len(shard.sources)
        progress(done, total)
    for shard in shards:
        facts = json.loads(_report(out, shard).read_text())
        counts[shard.path] = facts["samples"]
        broken += facts["broken"]
    allowed = max(SAMPLES, settings.max_broken * total)
    if len(broken) == total or len(broken) > allowed:
        raise PackError(
            f"{len(broken)} of {total} images are broken, more than are passed over ({allowed:.0f}): "
            f"{'; '.join(broken[:5])}"
        )
    return _finish(out, name, shards, counts, tuple(broken), settings)


def _check(settings: PackSettings) -> None:
    if settings.resize not in RESIZES:
        raise PackError(f"no resize mode {settings.resize!r}; there are {', '.join(RESIZES)}")
    if settings.resolution is not None and not 1 <= settings.resolution <= 8192:
        raise PackError(f"a resolution of {settings.resolution} pixels; it is from 1 to 8192")
    if settings.samples_per_shard < 1:
        raise PackError("a shard holds at least one sample")


def _plan(sources: Sequence[Source], settings: PackSettings) -> list[_Shard]:
    """Which samples go into which shard; a function of the sources alone."""
    if not sources:
        raise PackError("there are no images to pack")
    ordered = sorted(sources, key=lambda source: source.key)
    twice = next((a.key for a, b in pairwise(ordered) if a.key == b.key), None)
    if twice is not None:
        raise PackError(f"two images have the key {twice!r}; keys are paths without their suffix")
    splits: dict[str, list[Source]] = {"train": [], "held-out": []}
    for source in ordered:
        splits["held-out" if settings.held_out and is_held_out(source.group or source.key) else "train"].append(source)
    shards = []
    size = settings.samples_per_shard
    for split, members in splits.items():
        for number, start in enumerate(range(0, len(members), size)):
            shards.append(_Shard(f"{split}-{number:06d}.tar", tuple(members[start : start + size])))
    return shards


def _claim(out: Path, sources: Sequence[Source], settings: PackSettings) -> None:
    """The folder belongs to one pack: the same sources and settings."""
    facts = [sorted((asdict(source) for source in sources), key=lambda each: each["key"]), asdict(settings)]
    identity = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    out.mkdir(parents=True, exist_ok=True)
    plan = out / PLAN
    if plan.is_file():
        if json.loads(plan.read_text()).get("identity") != identity:
            raise PackError(f"{out} holds a pack of other images or settings; choose another folder or empty it")
        return
    if any(out.glob("*.tar")) or (out / CARD).exists():
        raise PackError(f"{out} holds a dataset already; choose another folder")
    _write(plan, json.dumps({"identity": identity}) + "\n")


def _report(out: Path, shard: _Shard) -> Path:
    """What is written beside a finished shard, and says that it is."""
    return out / f".{shard.path}.json"


def _run(shards: Sequence[_Shard], out: Path, settings: PackSettings, workers: int) -> Iterable[_Shard]:
    if workers == 0:
        for shard in shards:
            _pack_shard(shard, out, settings)
            yield shard
        return
    # Fresh processes: forked ones inherit the threads of whatever is loaded here.
    import multiprocessing

    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [(shard, pool.submit(_pack_shard, shard, out, settings)) for shard in shards]
        try:
            for shard, future in futures:
                future.result()
                yield shard
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _pack_shard(shard: _Shard, out: Path, settings: PackSettings) -> None:
    path = out / shard.path
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    count, broken = 0, []
    with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for source in shard.sources:
            try:
                content, extension = _encoded(source, settings)
            except (DataError, OSError) as error:
                broken.append(str(error))
                continue
            facts = {"caption": source.caption, "category": source.category, "group": source.group}
            text = json.dumps({name: value for name, value in facts.items() if value}, ensure_ascii=False)
            # A dot would end the key for a reader of shards.
            key = source.key.replace(".", "_")
            _add(tar, f"{key}.{extension}", content)
            _add(tar, f"{key}.json", text.encode())
            count += 1
    if count:
        temporary.replace(path)
    else:
        temporary.unlink()
    _write(_report(out, shard), json.dumps({"samples": count, "broken": broken}) + "\n")


def _encoded(source: Source, settings: PackSettings) -> tuple[bytes, str]:
    """The image as it is stored: the file itself where nothing changes it, else a PNG."""
    content = source.read()
    image = decode_image(content, source.origin)
    if settings.resolution is None or settings.resize == "none":
        return content, source.extension
    if settings.resize == "center-crop":
        image = Image.fromarray(fit(image, settings.resolution))
    else:
        factor = settings.resolution / min(image.size)
        size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        image = image.resize(size, Image.Resampling.BOX if factor <= 1 else Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue(), "png"


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    try:
        tar.addfile(info, io.BytesIO(content))
    except ValueError as error:
        raise PackError(f"{name}: {error}") from None


def _finish(
    out: Path,
    name: str,
    shards: Sequence[_Shard],
    counts: dict[str, int],
    broken: tuple[str, ...],
    settings: PackSettings,
) -> Packed:
    import yaml

    splits: dict[str, dict[str, object]] = {}
    samples: dict[str, int] = {}
    for split, stem in (("train", "train-"), ("held_out", "held-out-")):
        written = [shard.path for shard in shards if shard.path.startswith(stem) and counts[shard.path]]
        if written:
            samples[split] = sum(counts[path] for path in written)
            splits[split] = {"shards": written, "samples": samples[split]}
    classes = tuple(sorted({source.category for shard in shards for source in shard.sources} - {""}))
    card: dict[str, object] = {"name": name}
    if settings.resolution is not None and settings.resize == "center-crop":
        card["resolution"] = settings.resolution
    card |= {"licence": settings.licence}
    card |= {"attribution": settings.attribution} if settings.attribution else {}
    card |= {"classes": list(classes)} if classes else {}
    _write(out / CARD, yaml.safe_dump(card | {"splits": splits}, sort_keys=False, allow_unicode=True))
    return Packed(out, samples, classes, broken)


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
