"""The kinds of files of the language, and the kind of a file by its keys."""

from __future__ import annotations

from pathlib import Path

from specs.errors import SpecError, UnknownName
from specs.library import find_file, is_path, list_files, list_names
from specs.syntax.yaml_tree import Mapping, Scalar, Tree, parse

__all__ = ["kind_of"]

#: Keys that only one kind of file has.
KEYS = {
    "recipe": """phases entry optimizer schedule ema loss drop clip precision initialise carry max_bad_steps every
        checkpoints text_encoder crop flip memory""".split(),
    "study": ["budget", "recipe", "arms", "base", "seeds", "contrasts", "hypotheses", "measures"],
    "entry": """stages graph nest resolution variants process defaults middle head time inputs skip normalize_input
        channels""".split(),
    "names": ["aliases", "renamed"],
    "dataset": ["splits", "classes", "attribution"],
}
#: Kinds by the name of the folder that a file is in, for files whose keys do not tell.
FOLDERS = {"recipes": "recipe", "studies": "study", "data": "tag", "names": "names"}
#: Longest chain of files that extend each other.
MOST = 50


def kind_of(tree: Tree, path: Path | None = None) -> str | None:
    """Return the kind of a file: entry, recipe, study, tag, names, or dataset (its card); None if no key tells.

    Args:
        tree: Tree of the file.
        path: Path of the file.
    """
    for _ in range(MOST):
        if not isinstance(tree, Mapping):
            return None
        found = _by_keys(tree) or (FOLDERS.get(path.parent.name) if path is not None else None)
        base = tree.get("extends")
        if found is not None or not isinstance(base, Scalar) or not isinstance(base.value, str):
            return found
        if not is_path(base.value):
            recipe = base.value in list_files("recipe") and base.value not in list_names()
            return "recipe" if recipe else "entry"
        try:  # a file with nothing but a reference is of the kind of the file that it extends
            path = find_file("entry", base.value, path.parent if path is not None else Path())
            tree = parse(path)
        except (SpecError, UnknownName):
            return "entry"
    return "entry"  # files that extend each other in a circle, which loading one reports


def _by_keys(tree: Mapping) -> str | None:
    keys = set(tree.entries)
    if "entries" in keys and not keys & {"budget", "recipe", "data", "evaluation"}:
        return "tag"
    counts = {kind: len(keys & set(own)) for kind, own in KEYS.items()}
    if "entries" in keys:
        counts["study"] += 1
    if "data" in keys:
        counts["recipe"] += 1
        counts["study"] += 1
    best = max(counts, key=lambda kind: counts[kind])
    if set(tree.entries) <= {"name", "summary", "inputs"} and "inputs" in keys:
        return None  # a tag or an entry without stages
    return best if counts[best] else None
