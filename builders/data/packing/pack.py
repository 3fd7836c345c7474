"""Packing images or videos into webdataset shards with a ``dataset.yaml``, in parallel and resumable.

Equal sources give equal bytes: samples are sorted, and members have no times. An interrupted pack keeps its finished
shards; shards whose images have changed since are packed again. The card marks a finished pack: it is written last, and
removed before a shard of a finished pack is replaced.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from builders.child_processes import ignored_sigint
from builders.data.dataset_card import CARD, PLAN, find_dataset, sort_classes
from builders.data.error_budget import SAMPLES
from builders.data.packing.clips.run import check_clip_keys, check_lengths, encoder_name, run_clips
from builders.data.packing.clips.settings import check_clip_settings, clip_facts
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
from builders.data.packing.source import PackError, Source
from builders.data.splits import is_held_out
from builders.files import read_json, remove_temporaries, write_text

__all__ = ["PackSettings", "Packed", "check_settings", "pack"]

RESIZES = ("center-crop", "fit", "none")


@dataclass(frozen=True, slots=True)
class Packed:
    """The result of a pack.

    Attributes:
        folder: Folder of the dataset.
        samples: Number of samples by split.
        classes: Names of the classes.
        broken: Error of each broken image or video, which was skipped.
        short: Name and length of each video that is too short for a clip, which was skipped.
        shards: Number of shards.
        kept: Number of shards that were already there.
    """

    folder: Path
    samples: dict[str, int]
    classes: tuple[str, ...]
    broken: tuple[str, ...]
    shards: int
    kept: int
    short: tuple[str, ...] = ()


def pack(
    sources: Sequence[Source],
    out: str | Path,
    name: str,
    settings: PackSettings | None = None,
    *,
    workers: int = 0,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Packed:
    """Pack images, or clips of videos, into shards and write their card.

    Args:
        sources: Images or videos to pack, from :mod:`builders.data.packing.sources`.
        out: Folder to write to. Shards of the same pack that it holds are reused unless their images have changed.
        name: Name of the dataset.
        settings: Settings of the pack.
        workers: Number of worker processes; 0 packs in this process.
        progress: Called with the number of images or videos packed and the number of all.

    Raises:
        PackError: There are no images, the folder holds another pack, settings are invalid, or too many images are
            broken.
        OSError: The folder cannot be written to.
    """
    settings = settings or PackSettings()
    check_settings(settings, workers)
    out, total = Path(out), len(sources)
    ordered = _sorted_sources(sources, settings)
    encoder = encoder_name() if settings.clips else ""
    plan = _claim(out, sources, settings)
    settings = replace(settings, method=plan["method"])
    shards = _plan(ordered, settings, plan["val_shards"], encoder)
    reports = {shard.path: report for shard in shards if (report := _finished(shard, out)) is not None}
    waiting = [shard for shard in shards if shard.path not in reports]
    count = _Count(total - sum(len(shard.sources) for shard in waiting), total, progress)
    classes, before = sort_classes(source.category for source in sources), _read_plan(out / PLAN).get("classes", ())
    if waiting:
        (out / CARD).unlink(missing_ok=True)
    with contextlib.closing(_running(waiting, out, settings, workers, count)) as running:
        for shard, report in running:
            reports[shard.path] = report
    broken = tuple(error for shard in shards for error in reports[shard.path].broken)
    short = tuple(text for shard in shards for text in reports[shard.path].short)
    _check_broken(broken, total, settings, finished=(out / CARD).exists())
    check_lengths(short, sum(report.samples for report in reports.values()))
    # Weights trained on an earlier pack depend on the order of its classes.
    classes = tuple(before) if sorted(before) == sorted(classes) else classes
    samples = _write_card(out, name, shards, reports, classes, settings, encoder)
    _remove_others(out, shards)
    return Packed(out, samples, classes, broken, len(shards), len(shards) - len(waiting), short)


class _Count:
    """Counts the images or videos that are packed."""

    def __init__(self, done: int, total: int, progress: Callable[[int, int], object]) -> None:
        self.done, self.total, self.progress = done, total, progress
        progress(done, total)

    def add(self, count: int = 1) -> None:
        self.done += count
        self.progress(self.done, self.total)


def _running(
    waiting: Sequence[ShardPlan], out: Path, settings: PackSettings, workers: int, count: _Count
) -> Generator[tuple[ShardPlan, Report], None, None]:
    """Pack shards, yield each with its report, and count their images or videos."""
    if settings.clips:
        yield from run_clips(waiting, out, settings, workers, count.add)
        return
    with contextlib.closing(_run(waiting, out, settings, workers)) as running:
        for shard, report in running:
            count.add(len(shard.sources))
            yield shard, report


def check_settings(settings: PackSettings, workers: int) -> None:
    """Check the settings of a pack.

    Raises:
        PackError: A value is out of range.
    """
    if workers < 0:
        raise PackError(f"--workers must be at least 0 (0 packs in this process), not {workers}")
    if not 0 <= settings.max_broken <= 1:
        raise PackError(f"--max-broken must be a share of the images from 0 to 1, not {settings.max_broken}")
    if settings.resize not in RESIZES:
        raise PackError(f"no resize mode {settings.resize!r}; there are {', '.join(RESIZES)}")
    if settings.resolution is not None and not 1 <= settings.resolution <= 8192:
        raise PackError(f"the resolution must be from 1 to 8192 pixels, not {settings.resolution}")
    if settings.samples_per_shard < 1:
        raise PackError(f"a shard needs at least one sample, not {settings.samples_per_shard}")
    if settings.clips:
        check_clip_settings(settings.clips)


def _sorted_sources(sources: Sequence[Source], settings: PackSettings) -> list[Source]:
    """Return the images or videos sorted by key, after checking that the keys are unique."""
    noun = settings.media.noun
    if not sources:
        raise PackError(f"there are no {noun}s to pack")
    ordered = sorted(sources, key=lambda source: (stored_key(source.key), source.path))
    for a, b in pairwise(ordered):
        key = stored_key(a.key)
        if key != stored_key(b.key):
            continue
        if a.is_file and a.path == b.path:
            raise PackError(f"{a.path} is listed twice; {settings.media.indefinite} has one caption and one label")
        raise PackError(
            f"two {noun}s have the key {key!r}: {a.origin} and {b.origin}; a key is the path without its suffix, with "
            "'_' for dots: rename one of them"
        )
    if settings.clips:
        check_clip_keys(ordered, settings.clips)
    return ordered


def _plan(sources: Sequence[Source], settings: PackSettings, val: str, encoder: str) -> list[ShardPlan]:
    """Return which samples go into which shard; names of validation shards begin with ``val``."""
    splits: dict[str, list[Source]] = {"train": [], val: [], "test": []}
    # A source that assigns samples to val needs no other ones held out.
    hold_out = settings.val and not any(source.split == "val" for source in sources)
    for source in sources:
        split = source.split
        if split in ("", "train"):
            split = "val" if hold_out and is_held_out(source.group or source.key) else "train"
        splits[val if split == "val" else split].append(source)
    stamps = {path: stamp(path) for path in {source.path for source in sources}}
    size = settings.samples_per_shard
    if settings.clips:
        size = settings.clips.videos_per_shard(size)
    return [
        ShardPlan.of(f"{split}-{number:06d}.tar", tuple(members[start : start + size]), stamps, encoder)
        for split, members in splits.items()
        for number, start in enumerate(range(0, len(members), size))
    ]


def _claim(out: Path, sources: Sequence[Source], settings: PackSettings) -> dict[str, Any]:
    """Claim the folder for this pack, and return its plan: how images are resized, and names of validation shards.

    A folder belongs to one pack: the same settings and the same folder of images. A finished pack also keeps its list
    of images.
    """
    facts = _facts(sources, settings)
    out.mkdir(parents=True, exist_ok=True)
    plan, finished = out / PLAN, (out / CARD).exists()
    if plan.exists():
        before = _read_plan(plan)
        facts["classes"] = list(_classes_of_card(out)) or before.get("classes", [])
        if before and "place" not in before:
            raise PackError(f"{out} holds a pack of an early version, which can only be read; choose another folder")
        same = ("settings", "place", "images") if finished else ("settings", "place")
        if any(before.get(what) != facts[what] for what in same):
            raise PackError(
                f"{out} holds a pack of other {settings.media.noun}s or settings; choose another folder or empty it"
            )
        # Packs started before version 0.2 keep the names of their shards.
        facts["val_shards"] = before.get("val_shards", "held-out")
        # All images of a pack are resized alike.
        facts["method"] = before.get("method", "box") if before else settings.method
    elif finished or any(out.glob("*.tar")):
        raise PackError(f"{out} already holds a dataset; choose another folder")
    write_text(plan, json.dumps(facts) + "\n")
    return facts


def _classes_of_card(out: Path) -> tuple[str, ...]:
    """Return the classes of a finished pack in their order; none if it is not finished or its card is damaged."""
    with contextlib.suppress(ValueError):
        return find_dataset(out)[0].classes if (out / CARD).is_file() else ()
    return ()


def _facts(sources: Sequence[Source], settings: PackSettings) -> dict[str, Any]:
    """Return what is written to the plan file: settings, the common folder and a hash of the names of the images."""
    # The names of whole shards, not of their members: fixing a broken text may add a member.
    images = sorted({source.key if source.is_file else os.path.basename(source.path) for source in sources})
    return {
        # The settings that the bytes of a shard depend on, by their names since version 0.1.
        "settings": {
            "resolution": settings.resolution,
            "resize": settings.resize,
            "held_out": settings.val,
            "samples_per_shard": settings.samples_per_shard,
            **({"clips": clip_facts(settings.clips)} if settings.clips else {}),
        },
        "place": os.path.commonpath([os.path.dirname(os.path.abspath(source.path)) for source in sources]),
        "images": hashlib.sha256(json.dumps(images).encode()).hexdigest(),
        "val_shards": "val",
        "method": settings.method,
    }


def _read_plan(path: Path) -> dict[str, Any]:
    """Return the content of a plan file; empty if it is damaged."""
    try:
        found = read_json(path)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _finished(shard: ShardPlan, out: Path) -> Report | None:
    """Return the report of a shard; None if it must be packed, because it is missing, truncated or out of date."""
    report, path = Report.read(shard.report(out)), out / shard.path
    # Images that could not be read are tried again.
    if report is None or report.identity != shard.identity or report.unread:
        return None
    intact = not report.samples or (path.is_file() and report.size in (None, path.stat().st_size))
    return report if intact else None


def _check_broken(broken: Sequence[str], total: int, settings: PackSettings, *, finished: bool) -> None:
    """Check that few enough images are broken. A finished pack keeps its list of images, so none can be removed."""
    allowed = max(SAMPLES, settings.max_broken * total)
    if len(broken) < total and len(broken) <= allowed:
        return
    if total == 1:
        raise PackError(f"the only {settings.media.noun} is broken: {broken[0]}. Fix it and run the same command again")
    which = "" if len(broken) == total else f", more than the limit of {allowed:.0f}"
    more = f"; and {len(broken) - 5} more" if len(broken) > 5 else ""
    raise PackError(
        f"{len(broken)} of {total} {settings.media.noun}s are broken{which}: {'; '.join(broken[:5])}{more}. "
        f"Fix {'' if finished else 'or remove '}them and run the same command again, which repacks only their shards; "
        "or raise the limit with --max-broken"
    )


def _run(
    shards: Sequence[ShardPlan], out: Path, settings: PackSettings, workers: int
) -> Generator[tuple[ShardPlan, Report], None, None]:
    """Pack shards, and yield each with its report."""
    if workers == 0 or not shards:
        for shard in shards:
            yield shard, pack_shard(shard, out, settings)
        return
    # Forked processes would inherit the threads of the libraries loaded here.
    context = multiprocessing.get_context("spawn")
    stopped = context.Event()
    pool = ProcessPoolExecutor(workers, context, initializer=listen, initargs=(stopped,))
    try:
        # Ctrl-C reaches all processes. The workers inherit that they ignore it, and are stopped by the event.
        with ignored_sigint():
            futures = [(shard, pool.submit(pack_until_stopped, shard, out, settings)) for shard in shards]
        for shard, future in futures:
            yield shard, future.result()
    except BrokenExecutor:
        raise PackError(
            "a worker process died, perhaps out of memory; run the same command with fewer --workers to resume"
        ) from None
    finally:
        stopped.set()
        with ignored_sigint():
            pool.shutdown(wait=True, cancel_futures=True)


def _write_card(
    out: Path,
    name: str,
    shards: Sequence[ShardPlan],
    reports: Mapping[str, Report],
    classes: Sequence[str],
    settings: PackSettings,
    encoder: str,
) -> dict[str, int]:
    """Write the card, and return the number of samples by split."""
    import yaml

    splits: dict[str, dict[str, Any]] = {}
    for split in ("train", "val", "test"):
        written = [shard.path for shard in shards if shard.split == split and reports[shard.path].samples]
        if written:
            splits[split] = {"shards": written, "samples": sum(reports[path].samples for path in written)}
    card = {
        "name": name,
        "resolution": settings.resolution if settings.resize == "center-crop" else None,
        "frames": settings.clips and settings.clips.frames,
        "rate": settings.clips and settings.clips.rate,
        "encoder": encoder or None,
        "licence": settings.licence,
        "attribution": settings.attribution or None,
        "classes": list(classes) or None,
        "splits": splits,
    }
    card = {key: value for key, value in card.items() if value is not None}
    write_text(out / CARD, yaml.safe_dump(card, sort_keys=False, allow_unicode=True))
    return {split: facts["samples"] for split, facts in splits.items()}


def _remove_others(out: Path, shards: Sequence[ShardPlan]) -> None:
    """Remove shards of a time when the pack had more images, and temporary files of killed processes."""
    wanted = {shard.path for shard in shards}
    for report in out.glob(".*.tar.json"):
        path = report.name.removeprefix(".").removesuffix(".json")
        if path not in wanted:
            (out / path).unlink(missing_ok=True)
            report.unlink(missing_ok=True)
    remove_temporaries(out)
