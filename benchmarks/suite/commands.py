"""Fresh processes: cost analysis, start-up, and the first sample."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.suite.comparing import Comparison, Options, compare, run_python

__all__ = ["costs", "start_up"]


#: How processes are measured: one at a time.
PROCESSES: dict[str, Any] = {"device": "cpu", "least": 0.0}


def _zoo(*words: str) -> list[str]:
    """Return the arguments of Python that run a command of the zoo."""
    return ["-c", f"from zoo.cli import run; import sys; sys.exit(run({list(words)!r}))"]


def costs(options: Options) -> Iterator[Comparison]:
    """Measure `zoo show` and `zoo check`, against building on meta and counting, or running once.

    All are fresh processes: parameters and FLOPs of an entry, and whether it can be built.
    """
    name = "mdm-micro" if options.quick else "mdm-s1024"
    counted, checked = (["-m", "benchmarks.baseline.count", name, *more] for more in ([], ["--check"]))
    for command, plain in (("show", counted), ("check", checked)):
        calls = partial(run_python, plain), partial(run_python, _zoo(command, name))
        yield compare("costs", f"zoo {command} {name}", *calls, options, **PROCESSES, warm=not options.quick)


def start_up(options: Options) -> Iterator[Comparison]:
    """Measure `import zoo` against `import torch`, and the first sample of a fresh process."""
    plain, zoo = ["-c", "import torch"], ["-c", "import zoo; zoo.list()"]
    calls = partial(run_python, plain), partial(run_python, zoo)
    yield compare(
        "start-up", "import and list, against importing torch", *calls, options, **PROCESSES, warm=not options.quick
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sampled = (
            lambda: run_python(["-m", "benchmarks.baseline.first_sample", str(folder / "plain.png")]),
            lambda: run_python(_zoo("sample", "mdm-nano", "--steps", "1", "-c", "0", "-n", "1"), folder),
        )
        case = "zoo sample mdm-nano --steps 1"
        yield compare("start-up", case, *sampled, options, **PROCESSES, warm=not options.quick)
