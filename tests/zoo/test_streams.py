"""Standard streams that are closed, full, or whose reader is gone: no traceback, a clear exit code."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

from zoo.terminal.progress import count_bar


def shell(line: str, folder) -> tuple[int, str]:
    """Exit code of ``zoo``, and what it printed to stderr."""
    command = f"{shlex.quote(sys.executable)} -m zoo {line}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, cwd=folder, timeout=60)
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize(
    ("line", "code", "error"),
    [
        ("list --plain >&-", 0, ""),
        ("check - <&-", 2, "<stdin>: error[empty]: the file is empty"),
        ("list mdm-nano --json > /dev/full", 2, "error: No space left on device"),
        ("--version > /dev/full", 2, "error: No space left on device"),
        ("show mdm-nano >&- 2>&- <&-", 0, ""),
        ("list --plain | true; exit ${PIPESTATUS[0]}", 141, ""),
        (
            "card mdm-nano -o $'c\\xff.md'",
            2,
            "error: 'c\\udcff.svg': this name is not UTF-8 text; rename the file or folder",
        ),
        ("check nosuch 2>&1 | true; exit ${PIPESTATUS[0]}", 141, ""),
    ],
)
def test_streams(tmp_path, line, code, error):
    found = shell(line, tmp_path)
    assert found == (code, f"{error}\n" if error else "")


def test_a_bar_writes_nothing_to_a_pipe(capfd):
    with count_bar("sampling", 3, quiet=False) as advance:
        advance(3)
    assert capfd.readouterr() == ("", "")
