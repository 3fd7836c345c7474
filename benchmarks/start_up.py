"""CPU time of commands in fresh processes, in two checkouts of the project.

    python benchmarks/start_up.py e00d1b6 --rounds 5

The first is an earlier commit of this checkout, in a temporary worktree. Rounds alternate between the two. A round
before them, which does not count, fills caches.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Commands by title: arguments of Python.
COMMANDS = {
    "import torch": ["-c", "import torch"],
    "zoo.list()": ["-c", "import zoo; zoo.list()"],
    "zoo show mdm-s1024": ["-m", "zoo", "show", "mdm-s1024"],
    "zoo sample mdm-nano -c flgs (refused)": ["-m", "zoo", "sample", "mdm-nano", "-c", "flgs"],
    "zoo.build('mdm-nano', device='meta')": ["-c", "import zoo; zoo.build('mdm-nano', device='meta')"],
    "zoo.load('mdm-nano')": ["-c", "import zoo; zoo.load('mdm-nano')"],
    "zoo sample mdm-nano --steps 1": ["-m", "zoo", "sample", "mdm-nano", "--steps", "1"],
}


def cpu_seconds(arguments: list[str], project: Path, folder: Path) -> float:
    """Return the CPU time of a fresh process of Python, user and system, which runs in a folder.

    Args:
        arguments: Arguments of Python.
        project: Checkout to import from.
        folder: Folder to run in.
    """
    environment = {**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 2):  # 2: refused
        raise RuntimeError(f"{' '.join(arguments)} failed in {project}:\n{done.stderr.decode()[-2000:]}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@contextlib.contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """Check a commit out into a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        git = ["git", "-C", str(ROOT), "worktree"]
        place = Path(name) / "earlier"
        subprocess.run([*git, "add", "--quiet", "--detach", str(place), commit], check=True)
        try:
            yield place
        finally:
            subprocess.run([*git, "remove", "--force", str(place)], check=True)


def main() -> None:
    """Print the medians of both checkouts and the median of their ratios by round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="Earlier commit to compare with.")
    parser.add_argument("--rounds", type=int, default=5, help="Rounds.")
    parser.add_argument("--only", metavar="WORDS", default="", help="Commands whose title holds these words.")
    options = parser.parse_args()
    chosen = {title: words for title, words in COMMANDS.items() if options.only in title}
    with checkout(options.commit) as earlier, tempfile.TemporaryDirectory() as name:
        times: dict[str, list[tuple[float, float]]] = {title: [] for title in chosen}
        for number in range(options.rounds + 1):
            for title, words in chosen.items():
                pair = cpu_seconds(words, earlier, Path(name)), cpu_seconds(words, ROOT, Path(name))
                if number:
                    times[title].append(pair)
    print(f"{'CPU seconds, median of ' + str(options.rounds):40}{options.commit[:8]:>10}{'now':>8}{'now / then':>12}")
    for title, pairs in times.items():
        then, now = (statistics.median(values) for values in zip(*pairs, strict=True))
        ratio = statistics.median(after / before for before, after in pairs)
        print(f"{title:40}{then:10.2f}{now:8.2f}{ratio:12.2f}")


if __name__ == "__main__":
    main()
