"""Studies: several entries trained at one budget and measured under one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from specs.errors import fail
from specs.library import find_file, list_files
from specs.public_names import offer
from specs.schemas.study import Study
from specs.syntax.overrides import apply_overrides
from specs.syntax.validation import validate
from specs.syntax.yaml_tree import Mapping, parse

__all__ = ["Study", "list_studies", "load_study"]

__getattr__ = offer(__name__)


def list_studies() -> tuple[str, ...]:
    """Return the names of all studies: those in ``studies/`` of each folder of ``ZOO_PATH``, and the packaged ones."""
    return list_files("study")


def load_study(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Study:
    """Load a study by name or from a file.

    Args:
        name_or_path: A name that :func:`list_studies` returns, or a path (it has a slash or ends in ``.yaml``).
        overrides: Changes such as ``budget.training_flops=1e12``.

    Raises:
        UnknownName: No study has this name.
        SpecError: The file has errors; the text is the whole report.
    """
    tree = parse(find_file("study", name_or_path))
    if not isinstance(tree, Mapping):
        raise fail("wrong-type", "a study is a mapping of keys to values", tree.position)
    return validate(Study, apply_overrides(tree, overrides), "a study")
