"""Markdown of texts that others have written: names, summaries and paths show as they are, whatever is in them.

Imports `specs.printable`.
"""

from __future__ import annotations

import html
import json
import re
import shlex
from collections.abc import Sequence

from specs.printable import printable

__all__ = ["code", "literal", "plain", "python_string", "shell_word", "table"]

#: Characters with a meaning in Markdown; an underscore has none inside a word.
_META = re.compile(r"[\\`*\[\]{}#|~!$]|(?<![^\W_])_|_(?![^\W_])")


def plain(text: object) -> str:
    """Return text in one line without Markdown, HTML and control characters."""
    line = " ".join(str(text).split(" ")) if str(text).isprintable() else printable(str(text))
    line = _META.sub(lambda match: "\\" + match[0], html.escape(line, quote=False))
    # At the start of a line: lists and rules.
    return re.sub(r"^(\s*)([-+=])", r"\1\\\2", re.sub(r"^(\s*\d+)([.)])(?=\s|$)", r"\1\\\2", line))


def code(text: object) -> str:
    """Return text as code in a line; in a table a bar is escaped."""
    line = printable(str(text)).replace("|", r"\|")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    space = " " if "`" in line or not line.strip() else ""
    return f"{fence}{space}{line}{space}{fence}"


def literal(lines: str, language: str) -> str:
    """Return a block of code, fenced longer than any fence in it."""
    longest = max((len(run) for run in re.findall("`{3,}", lines)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{lines.rstrip()}\n{fence}\n"


def python_string(text: str) -> str:
    """Return a text as a string of Python, in double quotes and one line."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def shell_word(text: str) -> str:
    """Return a text as one word of a shell command, in one line."""
    if text.isprintable():
        return shlex.quote(text)
    escaped = text.encode("unicode_escape").decode().replace("'", r"\'")
    return f"$'{escaped}'"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Return a table; the columns with the indices ``right`` are aligned to the right."""
    rule = ["---:" if index in right else "---" for index in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows)) + "\n"
