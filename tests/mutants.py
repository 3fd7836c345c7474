"""Mutation testing of the maths: ``make mutants``, or ``python -m tests.mutants``.

mutmut changes the formulas of the modules listed in pyproject.toml by one operator, number or argument at a time, and
runs the tests listed there against each change, in forks of a process that has imported torch. A mutant that no test
notices has survived. Survivors are listed in tests/mutants.md, each with the reason why no test can notice it. The
reasons are written by hand; an update of the list keeps them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = ROOT / "tests" / "mutants.md"
#: Share of the mutants that must be killed.
LEAST = 0.95
#: Exit codes of pytest for failed tests and for an error of its own.
KILLED = {1, 3}
#: Exit codes of mutants that were stopped after many times the time that their tests usually take.
TIMEOUT = {24, -24, 36, 152, 255}
UNEXPLAINED = "no reason yet"
HEAD = """# Surviving mutants

`make mutants` (tests/mutants.py) writes this list and keeps the reasons, which are written by hand. Each entry has the
lines before and after the change, and the reason why no test notices it.

Not mutated: module constants and decorated functions (a limit of mutmut), annotations, docstrings, error messages, and
the layout of the printed card.
"""


@dataclass(frozen=True, order=True)
class Mutant:
    """A change of one function: its lines before and after."""

    file: str
    function: str
    before: str
    after: str


@dataclass(frozen=True)
class Result:
    """What became of the mutants of one file."""

    file: str
    killed: int
    timeouts: int
    survivors: tuple[Mutant, ...]

    @property
    def total(self) -> int:
        return self.killed + self.timeouts + len(self.survivors)


def main() -> int:
    """Test all mutants, print the numbers per file and update the list; return 1 if too few are killed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Mutation testing of the maths.")
    parser.add_argument("--jobs", "-j", type=int, default=os.cpu_count(), help="Processes (default: number of cores)")
    parser.add_argument("--resume", action="store_true", help="Test only what the last run left untested")
    options = parser.parse_args()
    if not options.resume:
        shutil.rmtree(ROOT / "mutants", ignore_errors=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [Path(sys.executable).with_name("mutmut"), "run", "--max-children", str(options.jobs)]
    # A log has no use for the bar that moves: a line of it begins with a Braille pattern.
    output, errors = (None, None) if sys.stdout.isatty() else (subprocess.PIPE, subprocess.STDOUT)
    ended = subprocess.run(command, cwd=ROOT, env=environment, stdout=output, stderr=errors, text=True, check=False)
    if ended.returncode:
        print(*(line for line in (ended.stdout or "").splitlines() if not "\u2800" <= line[:1] <= "\u28ff"), sep="\n")
        print(f"mutmut ended with exit code {ended.returncode}")
        return 1
    results = list(read_results())
    reasons = read_reasons(LIST.read_text()) if LIST.exists() else {}
    LIST.write_text(written(results, reasons))
    return report(results, reasons)


def report(results: list[Result], reasons: dict[Mutant, str]) -> int:
    """Print the numbers and return the exit code."""
    print(table(results))
    total, survived = sum(each.total for each in results), sum(len(each.survivors) for each in results)
    share = (total - survived) / total
    print(
        f"\n{total - survived} of {total} mutants killed ({share:.2%}); {survived} survivors: {LIST.relative_to(ROOT)}"
    )
    for mutant in (mutant for each in results for mutant in each.survivors if mutant not in reasons):
        print(f"{UNEXPLAINED}: {mutant.file}, {mutant.function}:\n    - {mutant.before}\n    + {mutant.after}")
    if share < LEAST:
        print(f"fewer than {LEAST:.0%} killed")
    return int(share < LEAST)


def read_results() -> Iterable[Result]:
    """The results of mutmut's last run by file, as its folder ``mutants/`` has them."""
    os.chdir(ROOT)
    for path in sorted((ROOT / "mutants").rglob("*.py.meta")):
        file = str(path.relative_to(ROOT / "mutants")).removesuffix(".meta")
        codes = json.loads(path.read_text())["exit_code_by_key"]
        if not codes:
            continue
        killed, timeouts = (sum(code in kind for code in codes.values()) for kind in (KILLED, TIMEOUT))
        survivors = [change(name, file) for name, code in codes.items() if code not in KILLED | TIMEOUT]
        yield Result(file, killed, timeouts, tuple(sorted(survivors)))


def change(name: str, file: str) -> Mutant:
    """The lines that a mutant changes."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.utils.format_utils import orig_function_and_class_names_from_key

    function, owner = orig_function_and_class_names_from_key(name)
    lines = get_diff_for_mutant(name, path=file).splitlines()[2:]
    before, after = (" ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    return Mutant(file, f"{owner}.{function}" if owner else function, before, after)


def read_reasons(text: str) -> dict[Mutant, str]:
    """The reasons that the list gives."""
    reasons: dict[Mutant, str] = {}
    file = function = before = ""
    mutant = None
    for line in text.splitlines():
        if line.startswith("## "):
            file, mutant = line.removeprefix("## "), None
        elif line.startswith("### "):
            function, mutant = line.removeprefix("### "), None
        elif line.startswith("    - "):
            before, mutant = line[6:], None
        elif line.startswith("    + "):
            mutant = Mutant(file, function, before, line[6:])
        elif line and mutant is not None and line != UNEXPLAINED:
            reasons[mutant] = f"{reasons[mutant]}\n{line}" if mutant in reasons else line
    return reasons


def written(results: list[Result], reasons: dict[Mutant, str]) -> str:
    """The list of survivors as Markdown."""
    parts = [HEAD, table(results), ""]
    for result in results:
        function = None
        if result.survivors:
            parts += [f"## {result.file}", ""]
        for mutant in dict.fromkeys(result.survivors):
            if mutant.function != function:
                function = mutant.function
                parts += [f"### {function}", ""]
            parts += [f"    - {mutant.before}", f"    + {mutant.after}", "", reasons.get(mutant, UNEXPLAINED), ""]
    return "\n".join(parts).rstrip() + "\n"


def table(results: list[Result]) -> str:
    """Numbers by file, and their sum, as a Markdown table."""
    rows = [(each.file, each.total, each.killed, each.timeouts, len(each.survivors)) for each in results]
    rows.append(("total", *(sum(int(row[column]) for row in rows) for column in range(1, 5))))
    head = ("file", "mutants", "killed", "timed out", "survived")
    lines = [f"| {head[0]:40} | " + " | ".join(f"{name:>9}" for name in head[1:]) + " |"]
    lines.append(f"|{'-' * 42}|" + "|".join("-" * 10 + ":" for _ in head[1:]) + "|")
    lines += [f"| {name:40} | " + " | ".join(f"{number:9}" for number in numbers) + " |" for name, *numbers in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
