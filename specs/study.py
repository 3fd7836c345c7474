"""Studies: several entries trained at one budget and measured under one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from specs import library
from specs.errors import Problems, UnknownName, closest, fail
from specs.schemas.evaluation import EvaluationSpec
from specs.schemas.study import Study
from specs.syntax.overrides import apply_overrides
from specs.syntax.validation import validate_into
from specs.syntax.yaml_tree import Mapping, parse

__all__ = ["EvaluationSpec", "list_studies", "load_study"]

_PACKAGED = Path(__file__).parent / "studies"


def list_studies() -> tuple[str, ...]:
    """Names of all studies in natural order: those in ``studies/`` of each folder of ``ZOO_PATH``, and the packaged."""
    return tuple(sorted({path.stem for folder in _folders() for path in folder.glob("*.yaml")}, key=library.natural))


def load_study(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Study:
    """Load a study by name, or one in a file.

    Args:
        name_or_path: a name that :func:`list_studies` gives, or a path (it has a slash or ends in .yaml).
        overrides: changes such as ``budget.training_flops=1e12``.

    Raises:
        UnknownName: no study has this name.
        SpecError: the file is wrong; the text is the whole report.
    """
    tree = parse(_find(name_or_path))
    if not isinstance(tree, Mapping):
        raise fail("wrong-type", "a study is a mapping of keys to values", tree.position)
    problems = Problems()
    tree = apply_overrides(tree, overrides, problems)
    problems.raise_if_any()
    study = validate_into(Study, tree, problems, "a study")
    problems.raise_if_any()
    assert study is not None
    return study


def _folders() -> tuple[Path, ...]:
    return (*(folder / "studies" for folder in library.folders()), _PACKAGED)


def _find(name_or_path: str | Path) -> Path:
    if isinstance(name_or_path, Path) or library.is_path(name_or_path):
        return Path(name_or_path).expanduser()
    for folder in _folders() if library.NAME.fullmatch(name_or_path) else ():
        path = folder / f"{name_or_path}.yaml"
        if path.is_file():
            return path
    raise UnknownName(name_or_path, closest(name_or_path, list_studies(), count=3), what="study")
