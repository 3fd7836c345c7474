"""Versions of Python and of the libraries that decide results, without importing them."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ["versions"]

_PACKAGES = ("matryoshka-zoo", "torch", "safetensors", "numpy")


def versions() -> dict[str, str]:
    """Return the versions by package name; packages that are not installed are left out."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
