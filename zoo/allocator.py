"""How the memory allocator of the C library treats memory that torch frees."""

from __future__ import annotations

import os
import sys

__all__ = ["keep_freed_memory"]

#: Numbers of glibc's parameters for ``mallopt``.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
#: Size from which a buffer has pages of its own, which are returned when it is freed: the largest that glibc chooses.
MMAP_BYTES = 32 * 2**20
#: By how much the heap grows at least.
PAD_BYTES = 64 * 2**20
#: Variables by which a user chooses the allocator or its parameters.
CHOSEN = ("LD_PRELOAD", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Let glibc keep memory that is freed in this process for reuse; return whether it does.

    A training step allocates and frees the same buffers as the step before. By default, glibc returns much of them to
    the system at the end of a step, and each page of them is zeroed again in the next one. Results do not change.

    Has no effect with another C library or allocator, or if the user has set variables of glibc's.
    """
    if not sys.platform.startswith("linux") or any(name in CHOSEN or name.startswith("MALLOC_") for name in os.environ):
        return False
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # as of musl
        return False
    # Each returns 1 if glibc accepts the value; -1 is no threshold.
    accepted = [mallopt(M_MMAP_THRESHOLD, MMAP_BYTES), mallopt(M_TRIM_THRESHOLD, -1), mallopt(M_TOP_PAD, PAD_BYTES)]
    return all(accepted)
