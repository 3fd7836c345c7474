"""``zoo list``: the entries as a table, as names, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry.catalogue import get, list_names
from registry.costs.units import short
from specs.errors import SpecError
from zoo.terminal.console import console, print_json

if TYPE_CHECKING:
    from rich.text import Text

    from registry.costs.card import Card

__all__ = ["list_entries", "number"]


def list_entries(pattern: str | None, *, plain: bool, as_json: bool, **filters: Any) -> None:
    """Print the entries that match a glob and the filters of :func:`registry.catalogue.list_names`.

    Raises:
        ValueError: nothing matches.
    """
    given = {name: value for name, value in filters.items() if value is not None}
    names = list_names(pattern, **given)
    if (pattern is not None or given) and not names:
        what = [repr(pattern)] * (pattern is not None)
        what += [f"{name.replace('_', ' ')} {value}" for name, value in given.items()]
        raise ValueError(f"no entry matches {', '.join(what)}; 'zoo list' shows all")
    if plain and not as_json:
        print("\n".join(names))
        return
    cards = {name: _card(name) for name in names}
    if as_json:
        print_json(
            [card.as_dict() if not isinstance(card, str) else {"name": n, "error": card} for n, card in cards.items()]
        )
    else:
        _print_table(cards)


def _card(name: str) -> Card | str:
    """The card, or what is wrong with an entry, so that one bad file in ``ZOO_PATH`` does not hide the others."""
    try:
        return get(name).card()
    except SpecError as error:
        return str(error)


def _print_table(cards: dict[str, Card | str]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("name", style="bold", no_wrap=True)
    for title in ("pixels", "parameters", "MACs", "FLOPs"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("summary")
    for name, card in cards.items():
        if isinstance(card, str):
            table.add_row(name, "", "", "", "", _line(f"cannot be read; 'zoo check {name}' says why", "red"))
            continue
        sizes = "/".join(str(level.resolution) for level in card.levels)
        table.add_row(name, sizes, f"{card.parameters:,}", short(card.macs), short(card.flops), _line(card.summary))
    console().print(table)


def _line(text: str, style: str = "") -> Text:
    """Text on one line, cut where the column ends; a column that may not wrap would take its room from the others."""
    from rich.text import Text

    return Text(text, style, no_wrap=True, overflow="ellipsis")


def number(text: str) -> int:
    """A count that may end in k, M, G or T: ``10M``.

    Raises:
        ValueError: it is none.
    """
    factors = {"k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "t": 10**12}
    factor = factors.get(text[-1:].lower(), 1)
    try:
        return round(float(text[:-1] if factor > 1 else text) * factor)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no number; write 10000000 or 10M") from None
