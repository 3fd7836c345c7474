"""From images with captions or labels to webdataset shards with a ``dataset.yaml``: in parallel, resumable.

Equal sources give equal bytes: samples are sorted, and files carry no dates. A pack that was stopped keeps its finished
shards and goes on; shards whose images have changed meanwhile are packed again, so that nothing is mixed. The card says
that a pack is finished: it is written last, and removed before a shard of a finished pack is replaced.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from builders.data.dataset_card import CARD, PLAN
from builders.data.error_budget import SAMPLES
from builders.data.packing.shard import (
    PackSettings,
    Report,
    ShardPlan,
    listen,
    pack_shard,
    pack_until_stopped,
    stamp,
    stored_key,
)
from builders.data.packing.sources import PackError, Source
from builders.data.splits import is_held_out
from builders.files import TEMPORARY, write_text

__all__ = ["PackSettings", "Packed", "pack"]

RESIZES = ("center-crop", "fit", "none")


@dataclass(frozen=True, slots=True)
class Packed:
    """What was written: samples by split, what was passed over, and how many shards were there already."""

    folder: Path
    samples: dict[str, int]
    classes: tuple[str, ...]
    broken: tuple[str, ...]
    shards: int
    kept: int


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
        sources: what to pack, from :mod:`builders.data.packing.sources`.
        out: folder; shards of the same pack that are there already are kept, unless their images have changed.
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
    _check(settings, workers)
    out = Path(out)
    ordered = _in_order(sources)
    val = _claim(out, sources, settings)
    shards = _plan(ordered, settings, val)
    waiting = [shard for shard in shards if not _is_done(shard, out)]
    kept = len(shards) - len(waiting)
    done, total = len(sources) - sum(len(shard.sources) for shard in waiting), len(sources)
    progress(done, total)
    if waiting:
        (out / CARD).unlink(missing_ok=True)
    with contextlib.closing(_run(waiting, out, settings, workers)) as running:
        for shard in running:
            done += len(shard.sources)
            progress(done, total)
    reports = [_report(shard, out) for shard in shards]
    broken = tuple(what for report in reports for what in report.broken)
    _check_broken(broken, total, settings, finished=(out / CARD).exists())
    counts = {shard.path: report.samples for shard, report in zip(shards, reports, strict=True)}
    samples, classes = _finish(out, name, shards, counts, settings)
    return Packed(out, samples, classes, broken, len(shards), kept)


def _check(settings: PackSettings, workers: int) -> None:
    if workers < 0:
        raise PackError(f"{workers} workers; 0 packs in this process alone")
    if not 0 <= settings.max_broken <= 1:
        raise PackError(f"--max-broken {settings.max_broken} is no share of the images, from 0 to 1")
    if settings.resize not in RESIZES:
        raise PackError(f"no resize mode {settings.resize!r}; there are {', '.join(RESIZES)}")
    if settings.resolution is not None and not 1 <= settings.resolution <= 8192:
        raise PackError(f"a resolution of {settings.resolution} pixels; it is from 1 to 8192")
    if settings.samples_per_shard < 1:
        raise PackError("a shard holds at least one sample")


def _in_order(sources: Sequence[Source]) -> list[Source]:
    """Return the images sorted by key, after checking that no two have the same."""
    if not sources:
        raise PackError("there are no images to pack")
    ordered = sorted(sources, key=lambda source: (stored_key(source.key), source.path))
    for a, b in pairwise(ordered):
        if stored_key(a.key) == stored_key(b.key) and a.is_file and a.path == b.path:
            raise PackError(f"{a.path} is named twice; an image has one caption and one label")
        if stored_key(a.key) == stored_key(b.key):
            raise PackError(
                f"two images have the key {stored_key(a.key)!r}: {a.origin} and {b.origin}; keys are paths without "
                "their suffix, and with _ for dots: rename one of them"
            )
    return ordered


def _plan(sources: Sequence[Source], settings: PackSettings, val: str) -> list[ShardPlan]:
    """Plan which samples go into which shard.

    Args:
        sources: Images sorted by key.
        settings: Settings of the pack.
        val: First part of the names of validation shards.
    """
    splits: dict[str, list[Source]] = {"train": [], val: []}
    for source in sources:
        splits[val if settings.val and is_held_out(source.group or source.key) else "train"].append(source)
    stamps = {path: stamp(path) for path in {source.path for source in sources}}
    shards = []
    size = settings.samples_per_shard
    for split, members in splits.items():
        for number, start in enumerate(range(0, len(members), size)):
            shards.append(ShardPlan.of(f"{split}-{number:06d}.tar", tuple(members[start : start + size]), stamps))
    return shards


def _claim(out: Path, sources: Sequence[Source], settings: PackSettings) -> str:
    """Claim a folder for a pack, and return the first part of the names of its validation shards.

    A folder belongs to one pack: its settings and the folder of its images; a finished one also to these images.
    """
    # Shards as a whole, not their members: one whose text was mended has a member more.
    images = sorted({source.key if source.is_file else os.path.basename(source.path) for source in sources})
    facts: dict[str, object] = {
        # What the bytes of a shard depend on.
        "settings": {
            "resolution": settings.resolution,
            "resize": settings.resize,
            "held_out": settings.val,
            "samples_per_shard": settings.samples_per_shard,
        },
        "place": _place(sources),
        "images": hashlib.sha256(json.dumps(images).encode()).hexdigest(),
        "val_shards": "val",
    }
    out.mkdir(parents=True, exist_ok=True)
    plan = out / PLAN
    if not plan.exists():
        if any(out.glob("*.tar")) or (out / CARD).exists():
            raise PackError(f"{out} holds a dataset already; choose another folder")
    else:
        finished = (out / CARD).exists()
        before = _read_plan(plan)
        if before and "place" not in before:
            if not finished:
                raise PackError(f"{out}: its pack was begun by an older version of the zoo; choose another folder")
            raise PackError(
                f"{out} was packed by an older version of the zoo; it can be read as it is; choose another folder to "
                "pack anew"
            )
        # A pack of before version 0.2 keeps the names of its shards.
        facts["val_shards"] = before.get("val_shards", "held-out")
        same = ("settings", "place", "images") if finished else ("settings", "place")
        if any(before.get(what) != facts[what] for what in same):
            raise PackError(f"{out} holds a pack of other images or settings; choose another folder or empty it")
    write_text(plan, json.dumps(facts) + "\n")
    return str(facts["val_shards"])


def _read_plan(path: Path) -> dict[str, object]:
    """What a folder was claimed for; empty if that cannot be read."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _place(sources: Sequence[Source]) -> str:
    """The folder that all files are in."""
    return os.path.commonpath([os.path.dirname(os.path.abspath(source.path)) for source in sources])


def _is_done(shard: ShardPlan, out: Path) -> bool:
    """Whether a shard is there, of the images as they are now; one whose files could not be read is tried again."""
    report = Report.read(shard.report(out))
    if report is None or report.identity != shard.identity or report.unread:
        return False
    path = out / shard.path
    return not report.samples or (path.is_file() and report.size in (None, path.stat().st_size))


def _report(shard: ShardPlan, out: Path) -> Report:
    found = Report.read(shard.report(out))
    if found is None:
        raise PackError(f"{shard.report(out)}: gone while packing; run the same command again")
    return found


def _check_broken(broken: Sequence[str], total: int, settings: PackSettings, *, finished: bool) -> None:
    """Raise if too many images are broken; a pack that is finished keeps to its images, so none can be removed."""
    allowed = max(SAMPLES, settings.max_broken * total)
    if len(broken) < total and len(broken) <= allowed:
        return
    if total == 1:
        raise PackError(f"the only image is broken: {broken[0]}. Mend it and run the same command again")
    which = "all of them" if len(broken) == total else f"more than are passed over ({allowed:.0f})"
    more = f"; and {len(broken) - 5} more" if len(broken) > 5 else ""
    raise PackError(
        f"{len(broken)} of {total} images are broken, {which}: {'; '.join(broken[:5])}{more}. "
        f"Mend {'' if finished else 'or remove '}them and run the same command again, which packs only their shards "
        "anew; or pass more over with --max-broken"
    )


def _run(
    shards: Sequence[ShardPlan], out: Path, settings: PackSettings, workers: int
) -> Generator[ShardPlan, None, None]:
    if workers == 0 or not shards:
        for shard in shards:
            pack_shard(shard, out, settings)
            yield shard
        return
    # Fresh processes: forked ones inherit the threads of whatever is loaded here.
    context = multiprocessing.get_context("spawn")
    stopped = context.Event()
    pool = ProcessPoolExecutor(workers, context, initializer=listen, initargs=(stopped,))
    try:
        # Ctrl-C reaches all processes; this one alone answers it, and the others inherit that they do not.
        with _deaf():
            futures = [(shard, pool.submit(pack_until_stopped, shard, out, settings)) for shard in shards]
        for shard, future in futures:
            future.result()
            yield shard
    except BrokenExecutor:
        raise PackError(
            "a process that packs ended, perhaps for want of memory; the same command goes on, with fewer --workers"
        ) from None
    finally:
        stopped.set()
        with _deaf():
            pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Without an ear for Ctrl-C."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not in the main thread, which alone hears it
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _finish(
    out: Path, name: str, shards: Sequence[ShardPlan], counts: dict[str, int], settings: PackSettings
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Write the card; samples by split, and the classes."""
    import yaml

    splits: dict[str, dict[str, object]] = {}
    samples: dict[str, int] = {}
    for split in ("train", "val"):
        written = [shard.path for shard in shards if shard.split == split and counts[shard.path]]
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
    write_text(out / CARD, yaml.safe_dump(card | {"splits": splits}, sort_keys=False, allow_unicode=True))
    _remove_others(out, shards)
    return samples, classes


def _remove_others(out: Path, shards: Sequence[ShardPlan]) -> None:
    """Shards that this pack wrote when it had more images, and what processes left that were killed."""
    wanted = {shard.path for shard in shards}
    for report in out.glob(".*.tar.json"):
        path = report.name.removeprefix(".").removesuffix(".json")
        if path not in wanted:
            (out / path).unlink(missing_ok=True)
            report.unlink(missing_ok=True)
    for temporary in out.glob(TEMPORARY):
        temporary.unlink(missing_ok=True)
