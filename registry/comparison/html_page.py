"""A self-contained HTML page: its frame and style, tables, and figures."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from builders.files import write_text

__all__ = ["html_figures", "html_page", "html_rows", "html_text_table", "write_page"]


def write_page(path: str | Path, text: str) -> Path:
    """Write a page to a file.

    Args:
        path: File to write, an .html file.
        text: The page.

    Raises:
        ValueError: The path is not an .html file.
        OSError: The file cannot be written and is unchanged.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{path}: a report is an .html file")
    write_text(path, text)
    return path


def html_page(title: str, sections: Iterable[str]) -> str:
    """Return a page of sections, which are HTML; empty ones are left out.

    Args:
        title: Title as plain text.
        sections: Parts of the body.
    """
    body = "\n".join(section for section in sections if section)
    style = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>\n{style}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def html_rows(head: Sequence[str], rows: Sequence[str]) -> str:
    """Return a table.

    Args:
        head: Titles of the columns as plain text.
        rows: Cells of each row as HTML.
    """
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table>"


def html_text_table(head: Sequence[str], rows: Sequence[Sequence[str]], text: Collection[int]) -> str:
    """Return a table of plain text.

    Args:
        head: Titles of the columns.
        rows: Cells of the rows.
        text: Places of the columns that are aligned left, besides the first one.
    """

    def line(tag: str, cells: Sequence[str]) -> str:
        kinds = (' class="text"' if place in text else "" for place in range(len(cells)))
        return "".join(f"<{tag}{kind}>{html.escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))

    lines = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{line('th', head)}</tr></thead><tbody>{lines}</tbody></table>"


def html_figures(kind: str, figures: Sequence[tuple[str, str]]) -> str:
    """Return titles and pictures as a grid of figures.

    Args:
        kind: Class of the grid: ``charts`` or ``pictures``.
        figures: Titles as plain text, and pictures as HTML.
    """
    texts = (f"<figure><figcaption>{html.escape(title)}</figcaption>{picture}</figure>" for title, picture in figures)
    return f'<div class="{kind}">{"".join(texts)}</div>'
