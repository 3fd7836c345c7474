"""Accelerators by name: those of ``accelerators.yaml`` in the package, and own files."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from specs.errors import UnknownName, closest, fail
from specs.library import MAX_NAME, NAME, SUFFIXES, is_path, own_folders
from specs.schemas.accelerator import AcceleratorSpec
from specs.syntax.other_kind import refuse_other_kind
from specs.syntax.validation import validate
from specs.syntax.yaml_tree import Mapping, parse
from specs.user_paths import expanded

__all__ = ["find_accelerator", "list_accelerators", "load_accelerator"]

_PACKAGED = Path(__file__).parent / "accelerators.yaml"
#: Shorter names.
_ALIASES = {"h100": "h100-sxm", "a100": "a100-80"}


def list_accelerators() -> tuple[str, ...]:
    """Return the names of all accelerators: in ``accelerators/`` of each folder of ``ZOO_PATH``, and packaged ones."""
    return tuple(dict.fromkeys([*(path.stem for path in _own_files()), *_packaged().entries]))


def load_accelerator(name_or_path: str | Path) -> tuple[str, AcceleratorSpec]:
    """Load an accelerator by name or from a file, and return it with its name.

    Args:
        name_or_path: A name that :func:`list_accelerators` returns, or a path (it has a slash or ends in ``.yaml``).

    Raises:
        UnknownName: No accelerator has this name.
        SpecError: The file has errors; the text is the whole report.
    """
    if is_path(name_or_path):
        path = expanded(name_or_path)
        return path.stem, _read(path)
    name = str(name_or_path)
    own = next((path for path in _own_files() if path.stem == name), None)
    if own is not None:
        return name, _read(own)
    found = _packaged().get(_ALIASES.get(name, name)) if NAME.fullmatch(name) and len(name) <= MAX_NAME else None
    if found is None:
        names = [*list_accelerators(), *_ALIASES]
        near = closest(name.lower(), names, count=3)
        every = "" if near else f"; there are {', '.join(names)}, or write the path of a file"
        raise UnknownName(name, near, "accelerator", every)
    return _ALIASES.get(name, name), validate(AcceleratorSpec, found, f"accelerator {name}")


def find_accelerator(device: str) -> tuple[str, AcceleratorSpec] | None:
    """Return the accelerator that a driver calls by this name, such as ``NVIDIA H100 80GB HBM3``, or None."""
    for name in list_accelerators():
        found = load_accelerator(name)
        if any(device.casefold().endswith(each.casefold()) for each in found[1].devices):
            return found
    return None


def _own_files() -> Iterator[Path]:
    for folder in own_folders():
        place = folder / "accelerators"
        if place.is_dir():
            yield from sorted(path for path in place.iterdir() if path.suffix in SUFFIXES)


def _read(path: Path) -> AcceleratorSpec:
    tree = parse(path)
    if not isinstance(tree, Mapping):
        raise fail("wrong-type", "an accelerator is a mapping of keys to values", tree.position)
    refuse_other_kind(tree, "accelerator")
    return validate(AcceleratorSpec, tree, "an accelerator")


@lru_cache(maxsize=1)
def _packaged() -> Mapping:
    tree = parse(_PACKAGED)
    assert isinstance(tree, Mapping)
    return tree
