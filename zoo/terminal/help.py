"""Help pages: plain text under headings, at most as wide as the terminal, without columns of types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

__all__ = ["Command", "Group"]

#: Widest page in columns; longer lines are hard to read.
WIDEST = 100
#: Widest first column; a longer name has a line of its own.
FIRST = 26


class Command(TyperCommand):
    """A command with a plain help page."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write usage, description, arguments, and options by their headings."""
        _write_page(self, ctx, formatter)


class Group(TyperGroup):
    """A group of commands with a plain help page, which lists the commands by their headings."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write usage, description, commands by their headings, and options."""
        _write_page(self, ctx, formatter)


def _write_page(command: Any, ctx: Any, formatter: Any) -> None:
    formatter.width = min(WIDEST, _columns()) - 1
    parameters = [each for each in command.get_params(ctx) if not getattr(each, "hidden", False)]
    arguments = [each for each in parameters if each.param_type_name == "argument"]
    options = [each for each in parameters if each.param_type_name == "option"]
    pieces = ["[OPTIONS]", *map(_usage, arguments)]
    pieces += ["COMMAND", "[ARGUMENTS]..."] if isinstance(command, Group) else []
    formatter.write_usage(ctx.command_path, " ".join(pieces), prefix="Usage: ")
    if command.help:
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(command.help)
    _write_section(formatter, "Arguments", [(_metavar(each), _text(each)) for each in arguments])
    if isinstance(command, Group):
        for heading, commands in _by_heading("Commands", _commands(command, ctx)):
            _write_section(formatter, heading, [(name, _first_sentence(each)) for name, each in commands])
    for heading, found in _by_heading("Options", [("", each) for each in options]):
        _write_section(formatter, heading, [(_names(each), _text(each)) for _, each in found])


def _write_section(formatter: Any, heading: str, rows: Sequence[tuple[str, str]]) -> None:
    if rows:
        with formatter.section(heading):
            formatter.write_dl(list(rows), col_max=FIRST)


def _columns() -> int:
    from shutil import get_terminal_size

    return max(40, get_terminal_size().columns)


def _commands(group: Group, ctx: Any) -> Iterator[tuple[str, Any]]:
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if command is not None and not command.hidden:
            yield name, command


def _by_heading(usual: str, members: Any) -> list[tuple[str, list[tuple[str, Any]]]]:
    """Return named commands or options by their heading, the usual one first, the others as they appear."""
    found: dict[str, list[tuple[str, Any]]] = {usual: []}
    for name, each in members:
        heading = getattr(each, "rich_help_panel", None)
        found.setdefault(heading if isinstance(heading, str) else usual, []).append((name, each))
    return [(heading, each) for heading, each in found.items() if each]


def _first_sentence(command: Any) -> str:
    text = " ".join((command.short_help or command.help or "").split())
    return text.partition(". ")[0].rstrip(".") + "."


def _metavar(parameter: Any) -> str:
    """Return what stands for a value: the declared word, or the last word of the parameter's name."""
    return str(parameter.metavar or parameter.name.rpartition("_")[2].upper())


def _usage(argument: Any) -> str:
    name = _metavar(argument)
    if argument.nargs != 1 and not name.endswith("..."):
        name += "..."
    if argument.required:
        return name
    return f"[{name.removesuffix('...')}]..." if name.endswith("...") else f"[{name}]"


def _names(option: Any) -> str:
    """Return the names of an option, short ones first, and the word for its value."""
    names = ", ".join(sorted(option.opts, key=len))
    if option.secondary_opts:
        return f"{names} / {', '.join(option.secondary_opts)}"
    return names if option.is_flag or option.count else f"{names} {_metavar(option)}"


def _text(parameter: Any) -> str:
    """Return the help of a parameter, with its default or that it is required."""
    text, default = parameter.help or "", parameter.default
    if parameter.param_type_name == "option" and parameter.required:
        return f"{text} Required."
    if not parameter.show_default or default is None or callable(default) or default in ((), [], ""):
        return text
    if isinstance(default, bool):
        if not getattr(parameter, "secondary_opts", ()):
            return text
        default = (parameter.opts if default else parameter.secondary_opts)[0]
    shown = " ".join(map(str, default)) if isinstance(default, (tuple, list)) else str(default)
    return f"{text} Default: {shown}."
