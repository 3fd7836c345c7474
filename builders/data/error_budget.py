"""Samples and shards that cannot be read: passed over, counted and named, as long as they are few."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from builders.data.errors import DataError

__all__ = ["BrokenDataWarning", "ErrorBudget", "TooManyBrokenError", "check_budget"]

#: So many samples may be broken, or this share of all, whichever is more; and this share of the shards.
SAMPLES, SAMPLE_SHARE, SHARD_SHARE = 10, 0.01, 0.1
#: So many are named.
NAMED = 5


class BrokenDataWarning(UserWarning):
    """Some samples or shards of a dataset were passed over."""


class TooManyBrokenError(DataError):
    """More of a dataset is broken than is passed over."""


def check_budget(name: str, found: Sequence[str], total: int, *, none_left: bool = False) -> None:
    """Raise if more of ``total`` samples are broken than are passed over, or all of them.

    A sample whose texts are broken counts against both sides of a split by a hash, so ``total`` is of both sides, too.

    Args:
        name: of the dataset.
        found: what is wrong with each of the broken ones.
        total: samples, the broken ones among them.
        none_left: all samples that are known to be in the split are broken.

    Raises:
        TooManyBrokenError: naming some.
    """
    allowed = max(SAMPLES, SAMPLE_SHARE * total)
    if not found or (len(found) < total and len(found) <= allowed and not none_left):
        return
    if len(found) == 1:
        raise TooManyBrokenError(found[0])
    which = f"more than are passed over ({allowed:.0f})"
    if len(found) == total or none_left:
        which = "all" if len(found) == total else "among them all of the split"
    raise TooManyBrokenError(f"{name}: {len(found)} of {total} samples are broken, {which}: {_named(found)}")


class ErrorBudget:
    """What was broken in one reading of a dataset.

    Args:
        name: of the dataset.
        shards: how many shards there are.
    """

    def __init__(self, name: str, shards: int) -> None:
        self.name, self.total_shards = name, shards
        self.samples: list[str] = []
        self.shards: list[str] = []

    def add_shard(self, error: DataError) -> None:
        """Pass a shard, or the rest of it, over.

        Raises:
            DataError: too many are broken.
        """
        self.shards.append(str(error))
        if len(self.shards) > SHARD_SHARE * self.total_shards:
            if self.total_shards == 1:
                raise DataError(str(error))
            raise DataError(
                f"{self.name}: {len(self.shards)} of {self.total_shards} shards "
                f"{'is' if len(self.shards) == 1 else 'are'} broken, more than {SHARD_SHARE:.0%}: {_named(self.shards)}"
            )

    def add_sample(self, error: DataError) -> None:
        """Pass a sample over."""
        self.samples.append(str(error))

    def check(self, good: int, *, none_left: bool = False) -> None:
        """Say what was passed over.

        Args:
            good: samples that are not broken, on both sides of a split by a hash.
            none_left: see :func:`check_budget`.

        Raises:
            TooManyBrokenError: too many samples are broken, or none is left.
        """
        check_budget(self.name, self.samples, good + len(self.samples), none_left=none_left)
        for what, found in (("sample", self.samples), ("shard", self.shards)):
            if found:
                what += "s" if len(found) > 1 else ""
                text = f"{self.name}: {len(found)} broken {what} passed over: {_named(found)}"
                warnings.warn(text, BrokenDataWarning, stacklevel=3)


def _named(found: Sequence[str]) -> str:
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return "; ".join(found[:NAMED]) + more
