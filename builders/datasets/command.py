"""The command line of the scripts that make datasets."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from builders.data.errors import DataError

__all__ = ["run"]


def run(
    make: Callable[[Path, Path, int], None], module: str, source: str, arguments: Sequence[str] | None = None
) -> int:
    """Read ``SOURCE FOLDER [--resolution N]``, make the dataset and return the exit code: 2 after an error.

    Args:
        make: Function of the source, the folder to write to and the side of the images in pixels.
        module: Name of the module, for the help text.
        source: Description of SOURCE.
        arguments: Arguments of the command; None for those of the process.
    """
    parser = argparse.ArgumentParser(f"python -m {module}")
    parser.add_argument("source", metavar="SOURCE", type=Path, help=source)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="Folder to write the dataset to.")
    parser.add_argument("--resolution", type=_side, default=64, help="Side of the images in pixels. Default: 64.")
    chosen = parser.parse_args(arguments)
    try:
        make(chosen.source, chosen.folder, chosen.resolution)
    except (DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _side(text: str) -> int:
    if not text.isdecimal() or not 8 <= int(text) <= 512:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 8 to 512")
    return int(text)
