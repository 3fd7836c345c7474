"""Delimited text: delimiters, quotes, headers, lines that do not fit."""

from __future__ import annotations

import csv
import io
import time

import pytest

from builders.data.errors import PackError
from builders.data.tables.columns import choose_columns
from builders.data.tables.csv_table import csv_table, read_delimiter


def fields(text: str, path: str = "x.csv", **options) -> list[tuple[str, ...]]:
    """The fields of the rows that fit."""
    table = csv_table(path, text, **options)
    return [tuple(row.fields.values()) for row in table.rows if not row.problem]


ROWS = [("a.png", "a red, round; thing | x", "ball"), ("b.png", 'he said "no"', "")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("header", ["path,caption,label", "Image Path,CAPTION,Class", '"file_name","text","cls"'])
def test_delimiters_and_line_ends_are_found(delimiter, end, header):
    def line(row):
        quoted = ['"' + text.replace('"', '""') + '"' if set(text) & set(',;|\t"') else text for text in row]
        return delimiter.join(quoted)

    text = end.join([header.replace(",", delimiter), "", *map(line, ROWS), delimiter * 2, ""])
    for path in ("x.csv", "x.tsv"):
        assert fields(text, path) == ROWS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('path, caption\na.png, "x, y"\nb.png ,  z  \n', [("a.png", "x, y"), ("b.png", "z")]),
        ('path,caption\na.png,"two\nlines"\n', [("a.png", "two\nlines")]),
        ('path,caption\na.png,a 5" screen\n', [("a.png", 'a 5" screen')]),
        ('path,caption\na.png,"so" called\n', [("a.png", '"so" called')]),
        ('path,caption\na.png,"a \\"b\\" c"\n', [("a.png", 'a "b" c')]),
        ("path,caption\na.png,x,,\n", [("a.png", "x")]),
        ("path,caption,\na.png,x,\n", [("a.png", "x")]),
        ("sep=;\npath;caption\na.png;x\n", [("a.png", "x")]),
        ("path\na.png\n", [("a.png",)]),
        ("a.png\nb.png\n", [("a.png",), ("b.png",)]),
        ("path,caption\na.png,one\u2028two\x85three\n", [("a.png", "one\u2028two\x85three")]),
        ("", []),
        ("\n\n", []),
    ],
)
def test_what_hands_and_spreadsheets_write(text, expected):
    assert fields(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('path\tcaption\na.png\t"so" it goes\n', [("a.png", '"so" it goes')]),
        ('path\tcaption\na.png\t"unfinished\nb.png\tend"\n', [("a.png", '"unfinished'), ("b.png", 'end"')]),
        ('path\tcaption\na.png\t5" wide\nb.png\t"whole"\n', [("a.png", '5" wide'), ("b.png", '"whole"')]),
        ('path\tcaption\na.png\t"say ""hi"""\n', [("a.png", 'say "hi"')]),
        ('path\tcaption\na.png\t"a\ttab"\n', [("a.png", "a\ttab")]),
    ],
)
def test_quotes_in_tsv(text, expected):
    assert fields(text, "x.tsv") == expected


def test_rows_that_do_not_fit_are_named():
    table = csv_table(
        "x.csv", 'path,caption\na.png,x\nb.png,y,z\nc.png\nd.png,"two\nlines"\ne.png,"open, quote\nf.png,k\n'
    )
    assert [row.number for row in table.rows] == [2, 3, 4, 5, 7, 8]
    assert {row.number: row.problem for row in table.rows if row.problem} == {
        3: "3 fields, but the header has 2 (separated by commas); a field that holds the separator must be in quotes",
        4: "1 fields, but the header has 2 (separated by commas); fields are missing",
        7: "3 fields, but the header has 2 (separated by commas); a quote is not closed",
    }


def test_an_unclosed_quote_swallows_no_row():
    for other in ('b.png,"y"', "b.png,y", 'b.png,y"'):
        table = csv_table("x.csv", f'path,caption\na.png,"unfinished\n{other}\nc.png,z\n')
        assert [(row.fields["path"], row.problem) for row in table.rows] == [(f"{name}.png", "") for name in "abc"]
        assert table.rows[0].fields["caption"] == '"unfinished'
        assert table.notes == (
            "x.csv: one line has quotes that do not follow the rules of CSV; read as written (line 2)",
        )


def test_files_without_a_header():
    with pytest.raises(PackError, match=r"x\.csv, line 1: no header; .*such as 'path,caption'.*--image 2 --caption 1"):
        csv_table("x.csv", "a cat,a.png\na dog,b.png\n")
    table = csv_table("x.csv", "a cat,a.png\na dog,b.png\n", wanted=["2", "1"])
    assert table.columns == ("1", "2") and len(table.rows) == 2


def test_two_columns_of_one_name():
    with pytest.raises(PackError, match="two columns are called 'Caption'"):
        csv_table("x.csv", "path,caption,Caption\na.png,x,y\n")


def test_a_named_delimiter():
    assert fields("path:caption\na.png:x, y\n", delimiter=":") == [("a.png", "x, y")]
    assert [read_delimiter(text) for text in (";", "tab", r"\t", "PIPE")] == [";", "\t", "\t", "|"]
    for wrong in ("", "ab", '"', "\n"):
        with pytest.raises(PackError, match="--delimiter must be one character"):
            read_delimiter(wrong)


@pytest.mark.parametrize("line", ['"a', '""a', 'a.png,"', '"' * 50, '"a","', ',"""', '"\\'])
def test_hostile_quotes_take_linear_time(line):
    start = time.process_time()
    csv_table("x.csv", "path,caption\n" + (line + "\n") * 300)
    csv_table("x.csv", "path,caption\n" + line * 3000)
    assert time.process_time() - start < 2


def test_a_long_line_of_escaped_quotes():
    start = time.process_time()
    csv_table("x.csv", "path,caption\n" + '"\\' * 200_000)
    assert time.process_time() - start < 2


def test_many_columns_and_long_names():
    start = time.process_time()
    for text in ("b" + "," * 50_000, "a," * 50_000, "x" * 500_000, '"a",' * 20_000):
        with pytest.raises(PackError, match="column|lists no"):
            choose_columns(csv_table("x.csv", f"{text}\n{text}\n"), {})
    assert time.process_time() - start < 3


@pytest.mark.parametrize("caption", ["two\nlines", 'ends\nwith "quotes"', 'a \\"', "x, y", '5" by\n6"', '\n"a"'])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_captions_before_paths_come_back(caption, delimiter):
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerows([("caption", "path"), (caption, "a.png"), ("plain", "b.png"), (caption, "c.png")])
    table = csv_table("x.tsv" if delimiter == "\t" else "x.csv", text.getvalue())
    assert [(row.fields["path"], row.fields["caption"], row.problem) for row in table.rows] == [
        (path, written, "") for path, written in (("a.png", caption), ("b.png", "plain"), ("c.png", caption))
    ]


def test_a_quote_that_is_not_closed_before_paths_swallows_no_row():
    rows = csv_table("x.csv", 'caption,path\n"cut,a.png\nsize 5",b.png\n"ok",c.png\n').rows
    assert [row.fields["path"] for row in rows] == ["a.png", "b.png", "c.png"]
