"""Errors of datasets."""

from __future__ import annotations


class DataError(ValueError):
    """A dataset cannot be read; the message says why."""


class EmptySplitError(DataError):
    """A dataset has no images in a split."""


class HostileShardError(DataError):
    """A shard looks like an attack; it is never skipped."""


class MixedKindsError(DataError):
    """A dataset holds images and clips, or videos that are no clips; it is never skipped."""


class MemoryLimitError(DataError):
    """A split is too large to be held in memory."""


class PackError(DataError):
    """A dataset cannot be packed; the message says why and what to do."""
