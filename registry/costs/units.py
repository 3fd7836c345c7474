"""Numbers with unit prefixes, for printing."""

from __future__ import annotations


def short(value: int) -> str:
    """Return a number with a decimal prefix: ``385.43 G``."""
    for factor, prefix in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= factor:
            return f"{value / factor:.2f} {prefix}"
    return str(value)


def short_bytes(value: int) -> str:
    """Return a number of bytes with a binary prefix: ``20.4 MiB``."""
    for exponent, prefix in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if value >= 1024**exponent:
            return f"{value / 1024**exponent:.1f} {prefix}"
    return f"{value} B"


def short_time(seconds: float) -> str:
    """Return a duration in the largest unit that it has: ``1.52 s``, ``25.0 minutes``, ``3.2 days``."""
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size:
            return f"{seconds / size:,.1f} {name}"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
