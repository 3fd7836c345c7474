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
