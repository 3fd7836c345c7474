"""Everything that is checked on a GPU, in one command of under eight minutes: tests, benchmarks, a training.

It runs from a bare checkout with PyTorch and says which packages are missing. Wheels of them can be brought along in a
folder. Without a GPU everything runs at a reduced size on the CPU.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --wheels wheels --output gpu-results
    python benchmarks/gpu.py --only benchmarks
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Modules that all parts import, and the packages they come from.
NEEDED = {
    "torch": "torch",
    "accelerate": "accelerate",
    "braceexpand": "braceexpand",
    "matplotlib": "matplotlib",
    "numpy": "numpy",
    "PIL": "pillow",
    "pydantic": "pydantic",
    "pydantic_core": "pydantic-core",
    "annotated_types": "annotated-types",
    "typing_inspection": "typing-inspection",
    "rich": "rich",
    "safetensors": "safetensors",
    "typer": "typer",
    "yaml": "pyyaml",
}
#: Modules without which one part is left out.
NEEDED_BY = {"tests": {"pytest": "pytest"}}
#: Largest share of the whole time that each part may take.
PARTS = {"tests": 0.25, "benchmarks": 0.55, "training": 0.35}
#: The benchmarks that compute on the device, the most important first.
BENCHMARKS = ("utilization", "ladder", "step", "forward", "sampling", "memory", "quality")


@dataclass(frozen=True)
class Done:
    """A part that ran.

    Attributes:
        part: Name of the part.
        result: "passed", "failed", "out of time" or "left out".
        seconds: Time it took.
        last: Last lines that it printed.
    """

    part: str
    result: str
    seconds: float
    last: str


def lacking(names: Mapping[str, str]) -> list[str]:
    """Return the packages whose modules cannot be found.

    Args:
        names: Packages by module.
    """
    return [package for module, package in names.items() if importlib.util.find_spec(module) is None]


def bring(wheels: Path, target: str) -> str | None:
    """Install all wheels of a folder to another folder, without a network; return what is wrong, if anything is."""
    files = sorted(map(str, wheels.glob("*.whl")))
    if not files:
        return f"{wheels}: no wheels (.whl) in this folder"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"pip cannot install the wheels of {wheels}:\n{done.stderr.strip()[-1000:]}"
    sys.path.insert(0, target)
    importlib.invalidate_caches()
    os.environ["PYTHONPATH"] = _paths(target)  # for the parts
    return None


def _paths(first: str) -> str:
    return os.pathsep.join(filter(None, [first, os.environ.get("PYTHONPATH")]))


def commands(device: str, output: Path) -> dict[str, list[str]]:
    """Return the arguments of Python of every part."""
    recipe = "nano-progressive" if device == "cuda" else "micro-test"
    # A finished training in the same folder would not be trained again.
    fresh = output / "run" / time.strftime("%Y%m%d-%H%M%S")
    size = ["--rounds", "3"] if device == "cuda" else ["--quick"]
    results = ["--json", str(output / "benchmarks.json"), "--picture", str(output / "ladder.png")]
    return {
        # Plain, because the fixtures that all tests share need packages that these do not.
        "tests": ["-m", "pytest", "-q", "-m", "gpu", "tests/gpu", "--noconftest", "-p", "no:cacheprovider"],
        "benchmarks": ["-m", "benchmarks", *BENCHMARKS, "--device", device, *size, *results],
        "training": ["-m", "zoo", "train", recipe, "--device", device, "--output", str(fresh), "--no-track"],
    }


def run_part(part: str, arguments: Sequence[str], seconds: float, output: Path) -> Done:
    """Run a part, print its output, and write it to a file of the part's name.

    Args:
        part: Name of the part.
        arguments: Arguments of Python.
        seconds: Seconds after which it is ended.
        output: Folder of the results.
    """
    print(f"\n== {part}: python {' '.join(arguments)}", flush=True)
    environment = {**os.environ, "PYTHONPATH": _paths(str(ROOT))}
    began, path = time.monotonic(), output / f"{part}.txt"
    with path.open("w+", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
        try:
            result = "passed" if process.wait(timeout=max(1.0, seconds)) == 0 else "failed"
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            result = "out of time"
    text = path.read_text(encoding="utf-8")
    print(text[-12_000:], flush=True)
    return Done(part, result, time.monotonic() - began, "\n".join(text.splitlines()[-5:]))


def measured(output: Path) -> list[str]:
    """Return a line for each entry of which the utilization was measured."""
    path = output / "benchmarks.json"
    if not path.is_file():
        return []
    lines = []
    for each in json.loads(path.read_text(encoding="utf-8"))["results"]:
        if each["benchmark"] == "utilization":
            share = each["used"][0]
            used = "unknown peak rate" if share is None else f"{100 * share:.1f} % of the peak rate"
            rate = 3 * each["flops"] / each["training"] / 1e12
            lines.append(
                f"{each['entry']}, {each['precision']}, {each['rows']} rows: {1000 * each['training']:.1f} ms a step, "
                f"{rate:.2f} TFLOP/s, {used}"
            )
    return lines


def run_all(parts: Sequence[str], device: str, output: Path, minutes: float) -> int:
    """Run the parts one after the other, and print what became of them; return the exit code.

    Args:
        parts: Names of the parts.
        device: "cpu" or "cuda".
        output: Folder of the results.
        minutes: Time of all parts together.
    """
    began, done = time.monotonic(), []
    for part, arguments in commands(device, output).items():
        if part not in parts:
            continue
        missing = lacking(NEEDED_BY.get(part, {}))
        if missing:
            done.append(Done(part, "left out", 0.0, f"missing: {', '.join(missing)}"))
            continue
        left = 60 * minutes - (time.monotonic() - began)
        done.append(run_part(part, arguments, min(60 * minutes * PARTS[part], left), output))
    print("\n== summary")
    for each in done:
        print(
            f"{each.part:11} {each.result:12} {each.seconds:6.1f} s  {each.last.splitlines()[-1] if each.last else ''}"
        )
    print("\n".join(measured(output)))
    print(f"{time.monotonic() - began:.0f} s; results in {output}")
    return int(any(each.result in ("failed", "out of time") for each in done))


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the packages, run all parts, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, help="Folder with wheels of packages that are not installed.")
    parser.add_argument("--output", type=Path, default=Path("gpu-results"), help="Folder of the results.")
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), help="Parts to run. Default: all.")
    parser.add_argument("--cpu", action="store_true", help="Reduced size on the CPU, also if there is a GPU.")
    parser.add_argument("--minutes", type=float, default=7.8, help="Time of all parts together. Default: 7.8.")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as target:
        problem = bring(options.wheels, target) if options.wheels else None
        missing = lacking(NEEDED)
        if problem is None and missing:
            problem = (
                f"missing packages: {', '.join(missing)}. Where there is a network, run 'python -m pip download "
                f"--no-deps --dest wheels {' '.join(missing)}' for this Python and system; then add --wheels wheels"
            )
        if problem:
            print(f"Error: {problem}", file=sys.stderr)
            return 2
        import torch

        gpu = torch.cuda.is_available() and not options.cpu
        name = torch.cuda.get_device_name() if gpu else "CPU, at a reduced size"
        print(f"{name}, PyTorch {torch.__version__}, Python {sys.version.split()[0]}", flush=True)
        output = options.output.absolute()
        output.mkdir(parents=True, exist_ok=True)
        return run_all(options.only or list(PARTS), "cuda" if gpu else "cpu", output, options.minutes)


if __name__ == "__main__":
    sys.exit(main())
