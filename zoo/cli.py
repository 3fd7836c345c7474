"""Entry point of the ``zoo`` command: errors that users can cause become one message and exit code 2."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from zoo.exit_codes import BROKEN_PIPE, INTERRUPTED, USER_ERROR
from zoo.terminal.streams import discard_output, open_streams, safe_streams
from zoo.threads import spin_briefly

__all__ = ["main", "run"]

#: Packages whose exceptions and warnings are messages to the user.
OURS = ("specs", "builders", "registry", "zoo")
#: Variable by which a shell asks for the completion of a line.
COMPLETION = "_ZOO_COMPLETE"
#: Our words for pydantic's, which check the values of options.
_WORDS = {
    r"Input should be a valid integer.*|Unable to parse input string as an integer.*": "must be a whole number",
    r"Input should be a valid number.*": "must be a number",
    r"Input should be greater than or equal to (\S+)": r"must be at least \1",
    r"Input should be less than or equal to (\S+)": r"must be at most \1",
}


def main() -> None:
    """Run ``zoo`` with the arguments of the process, and exit."""
    open_streams()
    spin_briefly()
    code = run(sys.argv[1:])
    discard_output()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run ``zoo`` with these arguments; return its exit code.

    Messages are printed to stderr without a traceback; with ``ZOO_TRACEBACK=1``, exceptions are raised.
    """
    try:
        return _run(arguments)
    except BrokenPipeError:
        discard_output()
        return BROKEN_PIPE


def _run(arguments: Sequence[str]) -> int:
    try:
        result = _invoke(list(arguments))
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        message = _message(error)
        if message is None or os.environ.get("ZOO_TRACEBACK"):
            raise
        if message:
            print(_shown(message), file=sys.stderr)
        return USER_ERROR


def _invoke(arguments: list[str]) -> object:
    import typer
    from typer.main import get_command

    from zoo.commands.app import app
    from zoo.terminal.downloads import download_lines
    from zoo.terminal.notes import note_lines

    warnings.showwarning = _show_warning
    command = get_command(app)
    try:
        if COMPLETION in os.environ:
            command.main(arguments, prog_name="zoo", complete_var=COMPLETION)
        # Not command.main(), which has its own messages and exit codes for interruptions and broken pipes.
        with command.make_context("zoo", arguments) as context, safe_streams(), download_lines(), note_lines():
            return command.invoke(context)
    except typer.Exit as exit:
        return exit.exit_code
    except SystemExit as exit:  # completion
        return exit.code


def _show_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """Print a warning of this package as one line; warnings of libraries are for developers and not shown."""
    if category.__module__.partition(".")[0] in OURS:
        print(_shown(f"warning: {message}"), file=sys.stderr)


def _shown(message: str) -> str:
    """Return a message without control characters, and without secrets of addresses."""
    from specs.addresses import without_secrets
    from specs.printable import printable

    return without_secrets(printable(message, keep="\n"))


def _in_plain_words(text: str) -> str:
    """Return a usage error with pydantic's part of it in our words."""
    for pattern, words in _WORDS.items():
        text = re.sub(pattern, words, text)
    return text


def _message(error: Exception) -> str | None:
    """Return the message for an error of the user, or None for any other error."""
    from specs.errors import SpecError

    if isinstance(error, SpecError):
        return str(error)
    if hasattr(error, "format_message"):  # a usage error of the command line
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "zoo"
        text = _in_plain_words(error.format_message())
        if type(error).__name__ == "NoArgsIsHelpError":
            return text or None  # the help page
        return f"{command}: {text} (see {command} --help)"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"error: {where}{error.strerror or error}"
    if isinstance(error, UnicodeEncodeError):
        return _unencodable(error)
    ours = type(error).__module__.partition(".")[0] in OURS
    if ours or isinstance(error, ValueError):
        return f"error: {error}"
    if type(error).__name__ == "Abort":
        return "aborted"
    return None


def _unencodable(error: UnicodeEncodeError) -> str:
    """Return the message for a text, most often a file name, that cannot be written in an encoding."""
    shown = ascii(error.object[max(0, error.start - 40) : error.end + 20])
    if error.encoding.lower().startswith("utf"):
        return f"error: {shown}: this name is not UTF-8 text; rename the file or folder"
    advice = "use a locale with UTF-8, such as LC_ALL=C.UTF-8"
    return f"error: {shown}: the encoding of this locale, {error.encoding}, lacks some of these letters; {advice}"
