"""``zoo list``: the entries as a table, as names, as JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.commands.listing.others import list_others
from zoo.commands.options import Json

if TYPE_CHECKING:
    from rich.text import Text

    from registry.costs.card import Card


#: Lists of other things than entries.
OTHERS = {"recipes": "recipes", "studies": "studies", "data": "data"}
OTHERS |= {"recipe": "recipes", "study": "studies", "dataset": "data", "datasets": "data"}


def list_entries(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="PATTERN",
            help="Glob, such as 'mdm-*' or '*.in1k'; or recipes, studies or data, to list these.",
            autocompletion=lambda incomplete: [each for each in OTHERS.values() if each.startswith(incomplete)],
        ),
    ] = None,
    pattern: Annotated[
        str | None, typer.Argument(metavar="PATTERN", help="Glob of names of recipes, studies or data.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Kind: image or video.")] = None,
    resolution: Annotated[int | None, typer.Option(help="Side of the outermost level in pixels.")] = None,
    depth: Annotated[int | None, typer.Option(help="Number of nested levels; 1 for a flat network.")] = None,
    below: Annotated[str | None, typer.Option(help="Upper limit of the number of parameters, such as 10M.")] = None,
    conditioning: Annotated[str | None, typer.Option(help="Conditioning: text, classes or none.")] = None,
    tag: Annotated[str | None, typer.Option(help="Part after the dot in mdm-s256.in1k.")] = None,
    weights: Annotated[bool, typer.Option("--weights", help="List only entries with pretrained weights.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Print only names, one per line.")] = False,
    as_json: Json = False,
) -> None:
    """List the entries of the zoo, or its recipes, studies or data."""
    filters: dict[str, Any] = {"kind": kind, "resolution": resolution, "depth": depth, "below": below}
    filters |= {"conditioning": conditioning, "tag": tag, "weights": weights or None}
    filters = {name: value for name, value in filters.items() if value is not None}
    if what in ("entries", "entry"):
        what, pattern = pattern, None
    other = OTHERS.get(what or "")
    if other is not None:
        for name in filters:
            raise ValueError(f"--{name} is for entries, not for {other}")
        list_others(other, pattern, plain, as_json)
        return
    if pattern is not None:
        raise ValueError(f"zoo list takes one pattern, or one before it of recipes, studies and data, not {what!r}")
    _note_missing_folders()
    names = _names(what, filters)
    if plain and not as_json:
        print("\n".join(names))
    else:
        _print([_Listed.find(name) for name in names], as_json)


def _names(pattern: str | None, options: dict[str, Any]) -> list[str]:
    """Return the names that match a pattern and the options that filter.

    Raises:
        ValueError: There are none, or an option has an unknown value.
    """
    from registry.catalogue import list_names, wider_pattern

    filters = {name: value for name, value in options.items() if name not in ("below", "weights")}
    if "below" in options:
        filters["parameters_below"] = _number(options["below"])
    names = list_names(pattern, **filters)
    if options.get("weights"):
        names = [name for name in names if _has_weights(name)]
    if not names and (pattern is not None or options):
        what = [] if pattern is None else [repr(pattern)]
        what += [f"{name.replace('_', ' ')} {value}" for name, value in filters.items()]
        what += ["with weights"] if options.get("weights") else []
        wider = wider_pattern(pattern, **filters) if pattern is not None and "weights" not in options else None
        hint = "'zoo list' shows all" if wider is None else f"did you mean {wider!r}?"
        raise ValueError(f"no entry matches {', '.join(what)}; {hint}")
    return names


@dataclass(frozen=True)
class _Listed:
    """An entry of the list.

    Attributes:
        name: Name of the entry.
        card: Its costs, or None if it cannot be read, so that one bad file in ``ZOO_PATH`` does not hide the others.
        error: Why it cannot be read.
        weights: Whether it has pretrained weights.
        source: File outside the package that it comes from.
        shadows: Whether that file hides a packaged entry of the same name.
    """

    name: str
    card: Card | None = None
    error: str = ""
    weights: bool = False
    source: str | None = None
    shadows: bool = False

    @staticmethod
    def find(name: str) -> _Listed:
        from registry.catalogue import get, search_path
        from specs.errors import SpecError
        from specs.library import PACKAGED, find, is_shadow
        from specs.syntax.yaml_tree import display_name

        found = find(name, search_path())
        own = None if found is None or found.path.parent == PACKAGED else found
        source, shadows = (None, False) if own is None else (display_name(own.path), is_shadow(own))
        try:
            entry = get(name)
        except SpecError as error:
            return _Listed(name, error=str(error), source=source, shadows=shadows)
        return _Listed(name, entry.card(), weights=entry.weights is not None, source=source, shadows=shadows)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        facts = {"name": self.name, "error": self.error} if self.card is None else self.card.as_dict()
        return facts | {"weights": self.weights, "source": self.source, "shadows": self.shadows}

    @property
    def origin(self) -> str:
        """Where the entry comes from if not from the package, in one or two words."""
        from specs.library import own_folders

        if self.source is None:
            return ""
        own = any(Path(self.source).resolve().parent == folder.resolve() for folder in own_folders())
        return ("ZOO_PATH" if own else "installed") + (", shadows" if self.shadows else "")

    def cells(self, sources: bool) -> dict[str, str | Text]:
        """Return the entry as cells of the table, by title. 32f8 are 8 frames of 32 pixels."""
        from rich.text import Text

        from registry.costs.units import short

        card = self.card
        summary = Text(f"cannot be read; 'zoo check {self.name}' says why", "red") if card is None else card.summary
        return {
            "name": self.name,
            "pixels": "" if card is None else "/".join(level.size.label.removeprefix("r") for level in card.levels),
            "parameters": "" if card is None else f"{card.parameters:,}",
            "MACs": "" if card is None else short(card.macs),
            "FLOPs": "" if card is None else short(card.flops),
            "weights": "yes" if self.weights else "",
            **({"from": self.origin} if sources else {}),
            "summary": summary,
        }


def _note_missing_folders() -> None:
    from specs.library import own_folders

    for folder in own_folders():
        if not folder.is_dir():
            print(f"note: ZOO_PATH: {folder} is not a folder", file=sys.stderr)


def _has_weights(name: str) -> bool:
    from registry.catalogue import get
    from specs.errors import SpecError

    try:
        return get(name).weights is not None
    except SpecError:
        return False


def _print(entries: Sequence[_Listed], as_json: bool) -> None:
    from zoo.terminal.console import console, print_json
    from zoo.terminal.tables import print_table

    if as_json:
        print_json([each.as_dict() for each in entries])
        return
    sources = any(each.source is not None for each in entries)
    rows = [each.cells(sources) for each in entries]
    # MACs are half of the FLOPs, and 'cannot be read' must have room.
    print_table(
        rows, console=console(), text="summary", optional=("MACs",), least=45 if sources else 30, left=("from",)
    )
    # On a narrow terminal, the summary that says this is cut or left out.
    bad = [each.name for each in entries if each.card is None]
    if bad:
        rest = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        print(f"note: {', '.join(bad[:3])}{rest} cannot be read; 'zoo check {bad[0]}' says why", file=sys.stderr)


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
