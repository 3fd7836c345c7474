"""The fuzzer for a few seconds. ``make fuzz`` runs it for ten minutes."""

from __future__ import annotations

import pytest

from tests.fuzz.runner import MEMORY, check, fuzz
from tests.fuzz.targets import TARGETS, Target

#: Those that need no torch, and the others.
GROUPS = (["specs", "overrides", "recipes", "studies", "names"], ["configs", "metadata", "cards"], ["tables", "shards"])
SECONDS = 3.0


def test_every_target_is_in_a_group():
    assert sorted(name for group in GROUPS for name in group) == sorted(TARGETS)


@pytest.mark.parametrize("names", GROUPS, ids=" ".join)
def test_files_of_others_cause_messages_only(names, tmp_path):
    found = fuzz(SECONDS, seed=0, names=names, folder=tmp_path / "failures")
    assert not found.failures, "\n\n".join(found.failures.values())
    assert found.memory - found.base < MEMORY
    assert all(found.inputs[name] > 5 for name in names)


def test_the_fuzzer_notices(tmp_path, monkeypatch):
    """A traceback, a hang, and an error of the library are found; messages to the user are not."""
    from tests.fuzz import runner

    monkeypatch.setattr(runner, "SECONDS", 0.05)

    def target(read):
        return Target("x", lambda random: b"", read)

    def hang(data, folder):
        while True:
            pass

    def message(data, folder):
        raise OSError(2, "no such file")

    assert "more than" in check(target(hang), b"", tmp_path)
    assert "ZeroDivisionError" in check(target(lambda data, folder: 1 / 0), b"", tmp_path)
    assert "ValueError" in check(target(lambda data, folder: int("x")), b"", tmp_path)
    assert check(target(message), b"", tmp_path) == "refused"
    assert check(target(lambda data, folder: None), b"", tmp_path) is None
