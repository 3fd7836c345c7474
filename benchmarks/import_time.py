"""Start-up time: medians over fresh processes of importing the package and of the first calls and commands.

python benchmarks/import_time.py [--rounds 7]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

CASES = {
    "bare Python": "pass",
    "import zoo": "import zoo",
    "zoo.list()": "import zoo; zoo.list()",
    "zoo.get('mdm-s1024').spec": "import zoo; zoo.get('mdm-s1024').spec",
    "... .hash": "import zoo; zoo.get('mdm-s1024').hash",
    "... .card()": "import zoo; zoo.get('mdm-s1024').card()",
    "... .graph": "import zoo; zoo.get('mdm-s1024').graph",
    "zoo show mdm-s1024": "from zoo.cli import run; run(['show', 'mdm-s1024'])",
    "zoo list": "from zoo.cli import run; run(['list'])",
    "zoo list --plain": "from zoo.cli import run; run(['list', '--plain'])",
}


def seconds(code: str) -> float:
    """Return the wall time of a fresh process that runs ``code``."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Print the medians, and the difference of each to bare Python."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="Processes per case.")
    rounds = parser.parse_args().rounds
    # Cases alternate, so that load on the machine affects all of them equally.
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(rounds):
        for name, code in CASES.items():
            times[name].append(seconds(code))
    base = statistics.median(times["bare Python"])
    print(f"{'median of ' + str(rounds):28}{'seconds':>9}{'more than bare':>17}")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:28}{median:9.3f}{median - base:17.3f}")


if __name__ == "__main__":
    main()
