"""Errors of data sets."""

from __future__ import annotations


class DataError(ValueError):
    """A dataset that cannot be read; the text is the whole message."""


class EmptySplitError(DataError):
    """A data set has no images in a split."""


class HostileShardError(DataError):
    """A shard that was made to do harm; it is never passed over within a budget."""
