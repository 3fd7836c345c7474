"""Measure the zoo against a plain implementation of the same networks: ``python -m benchmarks``.

Both compute the same with the same weights (benchmarks/baseline). Rounds alternate between them in one process, and the
table shows medians, and the median and range of the ratio of each round; more than 1 is a gain. Times are CPU times, or
by the clock on a GPU.

    python -m benchmarks --list
    python -m benchmarks forward step --cases mdm-s64:1
    python -m benchmarks ladder --picture ladder.png
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.suite.comparing import ROOT, Options

#: Benchmarks by name, and the function that measures each.
BENCHMARKS = {
    "build": "networks.build",
    "forward": "networks.forward",
    "step": "training.step",
    "memory": "training.memory",
    "sampling": "sampling.sampling",
    "quality": "sampling.quality",
    "loading": "loading.loading",
    "costs": "commands.costs",
    "start-up": "commands.start_up",
    "tracking": "tracking.tracking",
    "ladder": "ladder.ladder",
    "utilization": "utilization.utilization",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that the arguments name; return the exit code."""
    options = _parser().parse_args(arguments)
    if options.list:
        print(listing())
        return 0
    problem = _problem(options)
    if problem:
        print(f"Error: {problem}", file=sys.stderr)
        return 2
    import torch

    torch.set_num_threads(options.threads)
    rounds = options.rounds or (1 if options.quick else 5)
    how = Options(options.device, options.quick, rounds, tuple(options.cases or ()), options.picture)
    run(
        options.names or list(BENCHMARKS),
        how,
        options.json,
        shlex.join(sys.argv[1:] if arguments is None else arguments),
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="Names of benchmarks. Default: all.")
    add("--list", action="store_true", help="Names of the benchmarks and of the other scripts, without running any.")
    add("--quick", action="store_true", help="One round of the smallest entry, to see that everything works.")
    add("--device", default="cpu", choices=("cpu", "cuda"), help="Device to measure.")
    add("--rounds", type=int, help="Number of rounds. Default: 5.")
    add("--cases", nargs="+", metavar="ENTRY:ROWS", help="Entries and rows, such as mdm-s64:1.")
    add("--threads", type=int, default=1, help="Threads of PyTorch. Default: 1, so that CPU times can be compared.")
    add("--json", type=Path, metavar="FILE", help="File for the results, written after each of them.")
    add("--picture", type=Path, metavar="FILE", help="File for a picture of the ladder.")
    return parser


def _problem(options: argparse.Namespace) -> str | None:
    """Return what is wrong with the arguments, if anything is."""
    for name in options.names:
        if name not in BENCHMARKS:
            near = difflib.get_close_matches(name, BENCHMARKS, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(BENCHMARKS)}"
            return f"no benchmark is called '{name}'; {hint}"
    if options.threads < 1 or (options.rounds is not None and options.rounds < 1):
        return "--threads and --rounds must be at least 1"
    for case in options.cases or ():
        rows = case.partition(":")[2]
        if rows and not (rows.isascii() and rows.isdigit() and int(rows)):
            return f"--cases {case}: the rows after the colon must be a whole number from 1"
        from benchmarks.suite.inputs import graph_of

        try:
            graph_of(case.partition(":")[0])
        except (LookupError, ValueError) as error:
            return f"--cases {case}: {error}"
    for path in (options.json, options.picture):
        if path is not None and not path.absolute().parent.is_dir():
            return f"{path}: no such folder"
    if options.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            return "--device cuda: torch finds no CUDA device; use --device cpu"
    return None


def measure_of(name: str) -> Callable[[Options], Any]:
    """Return the function of a benchmark."""
    from importlib import import_module

    module, _, function = BENCHMARKS[name].partition(".")
    found: Callable[[Options], Any] = getattr(import_module(f"benchmarks.suite.{module}"), function)
    return found


def results_of(name: str, options: Options) -> Iterator[Any]:
    """Yield the results of a benchmark, as far as they fit into memory."""
    import torch

    try:
        for result in measure_of(name)(options):
            print(f"  {name}: {getattr(result, 'case', getattr(result, 'entry', ''))}", file=sys.stderr, flush=True)
            yield result
    except torch.OutOfMemoryError:
        print(f"  {name}: out of memory; choose fewer rows with --cases", file=sys.stderr, flush=True)


def run(names: Sequence[str], options: Options, path: Path | None, command: str) -> None:
    """Run benchmarks, print their tables, and write the files.

    Args:
        names: Names of benchmarks.
        options: How to measure.
        path: File for the results as JSON.
        command: Arguments of the command line, for the file.
    """
    from benchmarks.suite.ladder import Rung
    from benchmarks.suite.picture import draw_ladder
    from benchmarks.suite.tables import machine, table
    from builders.files import write_text

    about = {"machine": machine(options.device), "command": f"python -m benchmarks {command}".strip()}
    print(f"{about['machine']}\n{about['command']}", flush=True)
    results: list[Any] = []
    for name in names:
        for result in results_of(name, options):
            results.append(result)
            if path is not None:
                records = [each.record() for each in results]
                write_text(path, json.dumps({**about, "results": records}, indent=2) + "\n")
    for kind in dict.fromkeys(map(type, results)):
        print(f"\n{table([each for each in results if type(each) is kind])}")
    rungs = [each for each in results if isinstance(each, Rung)]
    if rungs and options.picture is not None:
        draw_ladder(rungs, options.picture, about["machine"])


def listing() -> str:
    """Return the names of the benchmarks and of the other scripts, with their first lines."""
    lines = ["benchmarks:"]
    for name, place in BENCHMARKS.items():
        module, _, function = place.partition(".")
        tree = ast.parse((ROOT / "benchmarks/suite" / f"{module}.py").read_text(encoding="utf-8"))
        nodes = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function]
        lines.append(f"  {name:14}{_first_line(nodes[0])}")
    lines.append("\nscripts, run as python -m benchmarks.NAME:")
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        if not path.name.startswith("_"):
            lines.append(f"  {path.stem:20}{_first_line(ast.parse(path.read_text(encoding='utf-8')))}")
    return "\n".join(lines)


def _first_line(node: ast.Module | ast.FunctionDef) -> str:
    return (ast.get_docstring(node) or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
