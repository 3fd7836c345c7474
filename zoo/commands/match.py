"""``zoo match``: the variant of one entry that costs as much as another, for a fair baseline."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from zoo.terminal.completion import complete_entry


def match(
    entry: Annotated[str, typer.Argument(metavar="A", help="Entry to scale.", autocompletion=complete_entry)],
    like: Annotated[
        str, typer.Option("--like", metavar="B", help="Entry whose cost to match.", autocompletion=complete_entry)
    ],
    by: Annotated[str, typer.Option(help="Cost to match: flops or parameters.")] = "flops",
    inner: Annotated[bool, typer.Option("--inner", help="Scale the inner levels too.")] = False,
) -> None:
    """Print the variant of A whose cost is nearest to that of B: a spec, for a fair baseline."""
    from registry.comparison.matching import match as find_match

    found = find_match(entry, like, by, inner=inner)
    print(found.yaml, end="")
    print(f"{found.by}: {found.cost:,}, {found.ratio:.4f} of {found.like}'s {found.target:,}", file=sys.stderr)
