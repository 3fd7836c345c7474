"""Registration of a study: a hash of its file, and of what its arms are trained with, before the first run."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from builders.files import read_json, read_regular, write_text
from registry.studies import StudyError
from registry.study_runs.runs import StudyRuns
from specs.syntax.yaml_tree import display_name

__all__ = ["Registration", "check_registration", "register", "registration_path"]

_SUFFIX = ".registered.json"
#: Largest size of a registration in bytes.
MAX_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Registration:
    """What is registered of a study.

    Attributes:
        sha256: Hash of the file of the study.
        commit: Commit of the registration; empty if it is not committed.
    """

    sha256: str
    commit: str = ""


def registration_path(study: Path) -> Path:
    """Return the file of the registration of a study, which is beside its file."""
    return study.with_name(study.stem + _SUFFIX)


def register(runs: StudyRuns) -> Path:
    """Write the registration of a study; return its file.

    Raises:
        StudyError: The study is changed by overrides.
        OSError: The file cannot be written.
    """
    if runs.loaded.overrides:
        raise StudyError("a study is registered as its file is; change the file in place of --set")
    path = registration_path(runs.loaded.path)
    found = {"study": runs.study.name, **_facts(runs), "date": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    write_text(path, json.dumps(found, indent=1) + "\n")
    return path


def check_registration(runs: StudyRuns) -> Registration:
    """Return the registration of a study, which must be as registered.

    Raises:
        StudyError: It is not registered, or its file, an entry or a recipe differs.
    """
    study, path = display_name(runs.loaded.path), registration_path(runs.loaded.path)
    anyway = "or run it with --exploratory, whose results are stored apart"
    if runs.loaded.overrides:
        raise StudyError(f"{study}: a registered study takes no --set; change nothing, {anyway}")
    if not path.is_file():
        advice = f"register it before its first run (zoo study {study} --register, and commit {path.name})"
        raise StudyError(f"{study}: the study is not registered; {advice}, {anyway}")
    registered, now = _read(path), _facts(runs)
    changes = list(_changes(registered, now))
    if changes:
        raise StudyError(
            f"{study}: the study differs from what {path.name} registers: {'; '.join(changes)}. Restore it, {anyway}"
        )
    return Registration(now["sha256"], _commit(path))


def _facts(runs: StudyRuns) -> dict[str, Any]:
    arms = {}
    for arm in runs.loaded.arms:
        example = runs.example(arm.name)
        facts = {"entry": example.graph.name, "hash": example.graph.hash, "recipe": example.fingerprint}
        arms[arm.name] = facts | {"steps": {name: phase.steps for name, phase in example.recipe.phases.items()}}
    return {"sha256": hashlib.sha256(read_regular(runs.loaded.path)).hexdigest(), "arms": arms}


def _read(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path, MAX_BYTES)
        if isinstance(found, dict) and isinstance(found["sha256"], str) and isinstance(found["arms"], dict):
            return found
    except (ValueError, KeyError):
        pass
    raise StudyError(f"{path}: not the registration of a study; restore it from version control")


def _changes(registered: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """Yield what differs from a registration."""
    if registered["sha256"] != now["sha256"]:
        yield f"the file (SHA-256 {registered['sha256'][:12]}, now {now['sha256'][:12]})"
    for name, facts in now["arms"].items():
        old = registered["arms"].get(name)
        if not isinstance(old, dict):
            continue  # the file differs then
        if old.get("hash") != facts["hash"]:
            yield f"arm {name}: the entry {facts['entry']} ({old.get('hash')}, now {facts['hash']})"
        elif old.get("recipe") != facts["recipe"]:
            yield f"arm {name}: its recipe ({old.get('recipe')}, now {facts['recipe']})"


def _commit(path: Path) -> str:
    """Return the last commit of a file, or an empty text if it is not committed as it is."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(path.parent), *arguments, "--", path.name]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        return "" if git("status", "--porcelain", "--ignored") else git("log", "-n", "1", "--format=%H")
    except (OSError, subprocess.SubprocessError):
        return ""
