"""Samples and shards that cannot be read: a few are skipped with a warning, more are an error."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from builders.data.errors import DataError, HostileShardError, MixedKindsError
from builders.data.recognition.left_out import LeftOut, LeftOutWarning

__all__ = ["BrokenDataWarning", "ErrorBudget", "TooManyBrokenError", "check_budget"]

#: Limits: this many samples or this share of all, whichever is more; and this share of the shards.
SAMPLES, SAMPLE_SHARE, SHARD_SHARE = 10, 0.01, 0.1
#: Number of errors that a message shows.
NAMED = 5


class BrokenDataWarning(UserWarning):
    """Some samples or shards of a dataset were skipped."""


class TooManyBrokenError(DataError):
    """More samples of a dataset are broken than may be skipped."""


def check_budget(name: str, errors: Sequence[str], total: int, *, none_left: bool = False) -> None:
    """Check that few enough samples are broken.

    A sample whose JSON is broken has no known split, so it counts against both. ``total`` therefore counts both splits.

    Args:
        name: Name of the dataset.
        errors: Message for each broken sample.
        total: Number of samples, including the broken ones.
        none_left: Whether all samples known to be in the split are broken.

    Raises:
        TooManyBrokenError: Too many samples are broken, or all of them.
    """
    allowed = max(SAMPLES, SAMPLE_SHARE * total)
    if not errors or (len(errors) < total and len(errors) <= allowed and not none_left):
        return
    if len(errors) == 1:
        raise TooManyBrokenError(errors[0])
    which = ""
    if len(errors) < total:
        which = ", including the whole split" if none_left else f", more than the limit of {allowed:.0f}"
    raise TooManyBrokenError(f"{name}: {len(errors)} of {total} samples are broken{which}: {_listed(errors)}")


class ErrorBudget:
    """Errors found while a dataset is read.

    Args:
        name: Name of the dataset.
        shards: Number of shards.

    Attributes:
        left_out: Members of the shards that are not read.
    """

    def __init__(self, name: str, shards: int) -> None:
        self.name, self.shards = name, shards
        self.sample_errors: list[str] = []
        self.shard_errors: list[str] = []
        self.left_out = LeftOut()

    @contextmanager
    def skip_shard(self) -> Iterator[None]:
        """Skip the rest of a shard if it cannot be read.

        Raises:
            DataError: Too many shards are broken, this one looks like an attack, or it holds another kind of samples.
        """
        try:
            yield
        except (HostileShardError, MixedKindsError):
            raise
        except DataError as error:
            self.shard_errors.append(str(error))
            count = len(self.shard_errors)
            if count <= SHARD_SHARE * self.shards:
                return
            if self.shards == 1:
                raise DataError(str(error)) from None
            raise DataError(
                f"{self.name}: {count} of {self.shards} shards {'is' if count == 1 else 'are'} broken, more than "
                f"{SHARD_SHARE:.0%}: {_listed(self.shard_errors)}"
            ) from None

    def add_sample(self, error: DataError) -> None:
        """Record the error of a skipped sample."""
        self.sample_errors.append(str(error))

    def check(self, good: int, *, none_left: bool = False) -> None:
        """Warn about what was skipped or left out.

        Args:
            good: Number of samples that are not broken, in both splits.
            none_left: As for :func:`check_budget`.

        Raises:
            TooManyBrokenError: Too many samples are broken, or all of them.
        """
        check_budget(self.name, self.sample_errors, good + len(self.sample_errors), none_left=none_left)
        for what, errors in (("sample", self.sample_errors), ("shard", self.shard_errors)):
            if errors:
                plural = "s" if len(errors) > 1 else ""
                text = f"{self.name}: skipped {len(errors)} broken {what}{plural}: {_listed(errors)}"
                warnings.warn(text, BrokenDataWarning, stacklevel=3)
        if good and (lines := self.left_out.lines(minor=False)):
            warnings.warn(f"{self.name}: left out {'; '.join(lines)}", LeftOutWarning, stacklevel=3)


def _listed(errors: Sequence[str]) -> str:
    more = f"; and {len(errors) - NAMED} more" if len(errors) > NAMED else ""
    return "; ".join(errors[:NAMED]) + more
