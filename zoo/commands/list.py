"""``zoo list``: the entries as a table, as names, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.commands.options import Json

if TYPE_CHECKING:
    from rich.text import Text

    from registry.costs.card import Card


def list_entries(
    pattern: Annotated[str | None, typer.Argument(help="Glob, such as 'mdm-*' or '*.in1k'.")] = None,
    kind: Annotated[str | None, typer.Option(help="Kind: image or video.")] = None,
    resolution: Annotated[int | None, typer.Option(help="Side of the outermost level in pixels.")] = None,
    depth: Annotated[int | None, typer.Option(help="Number of nested levels; 1 for a flat network.")] = None,
    below: Annotated[str | None, typer.Option(help="Upper limit of the number of parameters, such as 10M.")] = None,
    conditioning: Annotated[str | None, typer.Option(help="Conditioning: text, classes or none.")] = None,
    tag: Annotated[str | None, typer.Option(help="Part after the dot in mdm-s256.in1k.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Print only names, one per line.")] = False,
    as_json: Json = False,
) -> None:
    """List the entries of the zoo."""
    from registry.catalogue import list_names, wider_pattern
    from zoo.terminal.console import print_json

    filters: dict[str, Any] = {"kind": kind, "resolution": resolution, "depth": depth}
    filters |= {"parameters_below": below if below is None else _number(below)}
    filters |= {"conditioning": conditioning, "tag": tag}
    filters = {name: value for name, value in filters.items() if value is not None}
    names = list_names(pattern, **filters)
    if not names and (pattern is not None or filters):
        what = [] if pattern is None else [repr(pattern)]
        what += [f"{name.replace('_', ' ')} {value}" for name, value in filters.items()]
        wider = wider_pattern(pattern, **filters) if pattern is not None else None
        hint = "'zoo list' shows all" if wider is None else f"did you mean {wider!r}?"
        raise ValueError(f"no entry matches {', '.join(what)}; {hint}")
    if plain and not as_json:
        print("\n".join(names))
        return
    cards = {name: _card(name) for name in names}
    if as_json:
        print_json(
            [{"name": name, "error": card} if isinstance(card, str) else card.as_dict() for name, card in cards.items()]
        )
    else:
        _print_table(cards)


def _card(name: str) -> Card | str:
    """Return the card or the error of an entry, so that one bad file in ``ZOO_PATH`` does not hide the others."""
    from registry.catalogue import get
    from specs.errors import SpecError

    try:
        return get(name).card()
    except SpecError as error:
        return str(error)


def _print_table(cards: dict[str, Card | str]) -> None:
    from rich.table import Table

    from registry.costs.units import short
    from zoo.terminal.console import console

    output = console()
    numbers = {
        "pixels": lambda card: "/".join(str(level.resolution) for level in card.levels),
        "parameters": lambda card: f"{card.parameters:,}",
        "MACs": lambda card: short(card.macs),
        "FLOPs": lambda card: short(card.flops),
    }
    if output.width < 100:  # no room for the MACs, which are half of the FLOPs
        del numbers["MACs"]
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("name", style="bold", no_wrap=True)
    for title in numbers:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("summary")
    for name, card in cards.items():
        if isinstance(card, str):
            problem = _line(f"cannot be read; 'zoo check {name}' says why", "red")
            table.add_row(name, *("" for _ in numbers), problem)
        else:
            table.add_row(name, *(write(card) for write in numbers.values()), _line(card.summary))
    output.print(table)


def _line(text: str, style: str = "") -> Text:
    """Return text that is cut where the column ends; with no_wrap, the column would take width from the others."""
    from rich.text import Text

    return Text(text, style, no_wrap=True, overflow="ellipsis")


def _number(text: str) -> int:
    """Return a count that may end in k, M, G, B or T, such as ``10M``.

    Raises:
        ValueError: The text is not a number.
    """
    factors = {"k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "t": 10**12}
    factor = factors.get(text[-1:].lower(), 1)
    try:
        return round(float(text[:-1] if factor > 1 else text) * factor)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a number; write 10000000 or 10M") from None
