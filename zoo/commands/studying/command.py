"""What ``zoo study`` does with a study of arms."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.commands.studying.plan import plan_arms
from zoo.commands.studying.processes import run_shared
from zoo.commands.studying.report import write_study_report
from zoo.commands.studying.run import StudyOptions, register_study, reproduce_run, run_arms, study_places
from zoo.exit_codes import INTERRUPTED, USER_ERROR
from zoo.signals import signals_interrupt

if TYPE_CHECKING:
    from registry.study_runs.reproduction import Reproduction

__all__ = ["study_of_arms"]


def study_of_arms(
    name: str,
    overrides: Sequence[str],
    options: StudyOptions,
    *,
    plan: bool = False,
    register: bool = False,
    report: bool = False,
    as_json: bool = False,
    processes: int = 1,
    again: str | None = None,
) -> int:
    """Plan, register, run or report a study; return the exit code.

    Args:
        name: Name of the study, or path of its file.
        overrides: Changes to it.
        options: Where and how to run it.
        plan: Whether to print the plan.
        register: Whether to register it.
        report: Whether to write the report of the results so far.
        as_json: Whether to print the plan as JSON.
        processes: Number of processes that share the runs.
        again: Name of a run to do again; None to run what is missing.

    Raises:
        ValueError: The study is wrong, or options do not go together.
    """
    from builders.training.errors import Interrupted
    from registry.catalogue import search_path
    from specs.arms import load_arm_study

    given = {"--plan": plan, "--register": register, "--report": report, "--again": again is not None}
    modes = [option for option, there in given.items() if there]
    if len(modes) > 1:
        raise ValueError(f"{' and '.join(modes)} do not go together")
    if modes and processes > 1:
        raise ValueError(f"--processes is for running a study, not for {modes[0]}")
    if as_json and not plan:
        raise ValueError("--json is for --plan")
    loaded = load_arm_study(name, overrides, search=search_path())
    if plan:
        plan_arms(loaded, options, as_json=as_json)
        return 0
    if register:
        path = register_study(loaded, options)
        print(f"wrote {path}; commit it with {loaded.path.name} before the first run: zoo study {shlex.quote(name)}")
        return 0
    if report:
        print(write_study_report(loaded, study_places(loaded, options).results))
        return 0
    if again is not None:
        try:
            with signals_interrupt():
                return _print_reproduction(reproduce_run(loaded, options, again))
        except (Interrupted, KeyboardInterrupt):
            print("\ninterrupted; nothing is kept of a run that is done again", file=sys.stderr)
            return INTERRUPTED
    try:
        with signals_interrupt():
            run_shared(processes, lambda: run_arms(loaded, options))
    except (Interrupted, KeyboardInterrupt):
        again = shlex.join(["zoo", *sys.argv[1:]])
        print(f"\ninterrupted; finished runs have their results. To resume: {again}", file=sys.stderr)
        return INTERRUPTED
    page = write_study_report(loaded, study_places(loaded, options).results, needed=False)
    if page is not None and not options.quiet:
        print(f"report: {page}")
    return 0


def _print_reproduction(found: Reproduction) -> int:
    """Print a run that was done again beside its result; return the exit code."""
    from registry.study_runs.reproduction import TOLERANCE
    from zoo.terminal.console import console
    from zoo.terminal.tables import print_table

    rows = []
    for each in found.values:
        now = "" if each.now is None else f"{each.now:.10g}"
        difference = "the same" if each.difference == 0 else f"{each.difference:.2g}"
        rows.append({"value": each.name, "result": f"{each.before:.10g}", "again": now, "difference": difference})
    print_table(rows, console=console())
    where = f"{found.before.environment.get('hardware', '')}, commit {found.before.environment.get('commit', '')[:12]}"
    if found.same:
        print(f"{found.before.key.name} is reproduced to the last digit (result of {where})")
        return 0
    within = found.largest <= TOLERANCE
    words = f"{'within' if within else 'not within'} {TOLERANCE:g} (largest relative difference {found.largest:.2g})"
    print(f"{found.before.key.name} is reproduced {words}; the result is of {where}{_failures(found)}")
    return 0 if within else USER_ERROR


def _failures(found: Reproduction) -> str:
    before = f"; it failed: {found.before.failure}" if found.before.failure else ""
    return before + (f"; now it failed: {found.now.failure}" if found.now.failure else "")
