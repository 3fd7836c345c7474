"""Entry point of the ``zoo`` command: runs it, and turns what users can cause into one message and exit code 2."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from zoo.exit_codes import BROKEN_PIPE, INTERRUPTED, USER_ERROR

__all__ = ["main", "run"]

#: Packages whose exceptions and warnings are written for users.
OURS = ("specs", "builders", "registry", "zoo")


def main() -> None:
    """Run ``zoo`` with the arguments of the process, and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run ``zoo`` with these arguments and return its exit code.

    Messages go to stderr without a traceback; ``ZOO_TRACEBACK=1`` lets exceptions through.
    """
    try:
        result = _invoke(list(arguments))
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more at exit; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        message = _message(error)
        if message is None or os.environ.get("ZOO_TRACEBACK"):
            raise
        if message:
            print(message, file=sys.stderr)
        return USER_ERROR


def _invoke(arguments: list[str]) -> object:
    import typer
    from typer.main import get_command

    from zoo.commands.app import app

    warnings.showwarning = _show_warning
    command = get_command(app)
    try:
        # Not command.main(): it turns interruptions and broken pipes into exit codes and words of its own.
        with command.make_context("zoo", arguments) as context:
            return command.invoke(context)
    except typer.Exit as exit:
        return exit.exit_code


def _show_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """A warning of ours as one line; those of libraries are for whoever writes programs."""
    if category.__module__.partition(".")[0] in OURS:
        print(f"warning: {message}", file=sys.stderr)


def _message(error: Exception) -> str | None:
    """What to tell the user, or None for what is no mistake of theirs."""
    from specs.errors import SpecError

    if isinstance(error, SpecError):
        return str(error)
    if hasattr(error, "format_message"):  # a usage error of the command line
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "zoo"
        text = error.format_message()
        # No text: no arguments were given, and the help has been printed.
        return text and f"{command}: {text} (see {command} --help)"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"error: {where}{error.strerror or error}"
    # So are ValueErrors.
    ours = type(error).__module__.partition(".")[0] in OURS
    if ours or isinstance(error, ValueError):
        return f"error: {error}"
    if type(error).__name__ == "Abort":
        return "aborted"
    return None
