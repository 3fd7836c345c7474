"""``zoo check``: all errors of entries, recipes and studies, before anything is built."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from specs.printable import printable
from zoo.commands.options import STDIN, Json, Overrides, read_stdin
from zoo.exit_codes import USER_ERROR
from zoo.terminal.completion import complete_anything

if TYPE_CHECKING:
    from registry.checking.check import Checked


def check(
    entries: Annotated[
        list[str],
        typer.Argument(
            metavar="WHAT...",
            help="Names of entries, recipes or studies, YAML files, folders, or - for stdin.",
            autocompletion=complete_anything,
        ),
    ],
    overrides: Overrides = None,
    as_json: Json = False,
) -> int:
    """Check entries with their variants, recipes and studies; report every error with its place in the file."""
    from registry.checking.check import check as find
    from specs.errors import SpecError
    from zoo.terminal.console import print_json

    results: list[Checked] = []
    for what in entries:
        try:
            text = read_stdin() if what == "-" else None
        except SpecError as error:
            from registry.checking.check import Checked

            found = iter([Checked(STDIN, "file", STDIN, {}, problems=error.problems, error=str(error))])
        else:
            found = find(STDIN if what == "-" else what, overrides or (), text=text)
        for each in found:
            results.append(each)
            if not as_json:
                _print(each)
    if as_json:
        print_json([each.as_dict() for each in results])
    return USER_ERROR if any(each.error is not None for each in results) else 0


def _print(found: Checked) -> None:
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    if found.error is not None:
        print(found.error, file=sys.stderr)
        if len(found.problems) > 0 and found.kind != "file":
            count = len(found.problems)
            print(f"{found.kind} {printable(found.name)}: {count} error{'s' * (count != 1)}", file=sys.stderr)
    elif found.kind != "file":
        facts = {name.replace("graph_hash", "graph"): value for name, value in found.facts.items()}
        words = [f"{name} {', '.join(value) if isinstance(value, list) else value}" for name, value in facts.items()]
        print(printable("  ".join([f"OK {found.kind} {found.name}", *words])))
