"""Files that a spec, recipe or study refers to: checked before an error could quote them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from specs.errors import Position, fail, quote
from specs.syntax.own_files import is_ours
from specs.syntax.yaml_tree import MAX_BYTES, display_name, read_text

__all__ = ["MAX_CHAIN", "check_reference"]

#: Length of a chain of files that extend or nest each other.
MAX_CHAIN = 100


def check_reference(path: Path, where: Position, roots: Iterable[Path] = (), what: str = "an entry") -> None:
    """Check that a path that a file refers to is a YAML file of ours; errors in others would show their contents.

    Args:
        path: The path.
        where: Where it is written.
        roots: Folders in which entries are looked up by name. Files in one of them refer only to files in the same one.
        what: Kind of the file in messages.

    Raises:
        SpecError: It is not, or it is outside the folder.
    """
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise fail("bad-value", f"{what} is a .yaml file, which {quote(path.name)} is not", where)
    source = os.path.realpath(where.file)
    for root in map(os.path.realpath, roots):
        if _is_in(source, root) and not _is_in(os.path.realpath(path), root):
            message = f"{quote(str(path))} is outside {root}, whose files refer only to each other"
            raise fail("bad-value", message, where)
    if not os.path.isfile(path) or os.path.getsize(path) > MAX_BYTES:
        return  # reported when it is read
    if not is_ours(read_text(path)):
        raise fail("wrong-type", f"this is not the file of {what}: it has none of its keys", file=display_name(path))


def _is_in(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)
