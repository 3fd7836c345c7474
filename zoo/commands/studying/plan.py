"""Print the plan of a study of arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from zoo.commands.studying.run import StudyOptions, study_places

if TYPE_CHECKING:
    from registry.study_runs.plan import StudyPlan
    from registry.study_runs.reuse import OtherStudy
    from registry.study_runs.runs import StudyRuns
    from specs.arms import LoadedArmStudy

__all__ = ["plan_arms"]


def plan_arms(loaded: LoadedArmStudy, options: StudyOptions, *, as_json: bool = False) -> None:
    """Print runs, FLOPs, expected time on this machine and power.

    Raises:
        StudyError: The study is wrong, or its results are of another study.
    """
    from registry.catalogue import search_path
    from registry.environment import environment
    from registry.measures.runs import check_measures
    from registry.studies import check_arms
    from registry.study_runs.plan import plan_study
    from registry.study_runs.registration import Registration
    from registry.study_runs.reuse import equal_results, other_studies
    from registry.study_runs.running import results_by_key
    from registry.study_runs.runs import StudyRuns
    from zoo.device import pick_device
    from zoo.terminal.console import print_json

    runs = StudyRuns(loaded)
    check_arms(loaded)
    check_measures(loaded.study.measures, [arm.graph for arm in loaded.arms])
    folder = study_places(loaded, options).results
    results = results_by_key(runs, folder)
    registered = None if options.exploratory or loaded.study.exploratory else Registration("")
    device = str(pick_device(options.device))
    others = other_studies(loaded, search=search_path())
    taken = equal_results(runs, results, others, environment(device), registered)
    results |= {key: each.result for key, each in taken.items()}
    plan = plan_study(runs, results, device=device)
    if as_json:
        facts = asdict(plan) | {"training_flops": plan.flops, "seconds_left": plan.seconds_left, "taken": len(taken)}
        print_json(facts)
    else:
        _print(plan, _state(loaded, runs))
        _print_reuse(runs, others, len(taken))


def _print_reuse(runs: StudyRuns, others: Sequence[OtherStudy], taken: int) -> None:
    """Say how many results are taken from other studies, and which are not."""
    if not others:
        return
    later = "" if runs.study.search is None else "; more may follow from the search"
    print(f"equal to runs of {', '.join(other.name for other in others)}, whose results are taken: {taken}{later}")
    for other in others:
        outdated = other.results()[1]
        if outdated:
            print(f"{outdated} results of {other.name} are not taken: its file has changed since")


def _state(loaded: LoadedArmStudy, runs: object) -> str:
    """Say whether the study is registered."""
    from registry.studies import StudyError
    from registry.study_runs.registration import check_registration

    if loaded.study.exploratory:
        return "exploratory"
    try:
        found = check_registration(runs)  # type: ignore[arg-type]
    except StudyError as error:
        return str(error)
    where = f"in commit {found.commit[:12]}" if found.commit else "but the registration is not committed"
    return f"registered {where}, SHA-256 {found.sha256[:12]}"


def _print(plan: StudyPlan, state: str) -> None:
    from zoo.terminal.console import console
    from zoo.terminal.tables import print_table

    rows = []
    for arm in plan.arms:
        rows.append(
            {
                "arm": arm.arm,
                "entry": arm.entry,
                "steps": ", ".join(f"{name} {steps:,}" for name, steps in arm.steps.items()),
                "FLOPs": f"{arm.flops:.4g}",
                "to budget": f"{100 * arm.excess:+.2f} %",
                "runs": f"{arm.finished} of {arm.runs}" + (f" ({arm.failed} failed)" if arm.failed else ""),
                "time": _time(arm.seconds) + ("" if arm.measured or arm.seconds is None else " (estimated)"),
                "measuring": _time(arm.measuring),
            }
        )
    print_table(rows, console=console(), optional=("entry", "measuring", "to budget"), left=("entry", "steps"))
    runs, left = sum(arm.runs for arm in plan.arms), sum(arm.left for arm in plan.arms)
    print(f"\n{runs} runs of {plan.pairs} seeds, {plan.flops:.4g} training FLOPs; {left} runs are missing")
    if left and plan.seconds_left is not None:
        threads = f"{plan.threads} thread{'s' * (plan.threads != 1)}"
        unmeasured = "" if any(arm.measuring for arm in plan.arms) else ", without measuring"
        print(f"about {_time(plan.seconds_left)} one after another on {plan.hardware}, {threads} each{unmeasured}")
    for contrast in plan.contrasts:
        if contrast.power is not None:
            kind = "primary, after Holm's correction" if contrast.primary else "by itself"
            print(f"power of {contrast.name}: {100 * contrast.power:.0f} % ({kind})")
    if not plan.possible:
        primary = f"{plan.primary} primary contrast{'s' * (plan.primary != 1)}"
        print(
            f"warning: with {plan.pairs} seeds and {primary}, none can be significant; use more seeds or fewer primary "
            "contrasts"
        )
    elif plan.smallest is not None:
        print(
            f"with a power of 80 %, a primary contrast finds {plan.smallest:.3g} standard deviations of the paired "
            "difference"
        )
    print(state)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
