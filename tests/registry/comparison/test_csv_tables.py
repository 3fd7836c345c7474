"""CSV files of all entries."""

from __future__ import annotations

import csv

import pytest

import zoo
from registry.comparison.csv_tables import write_tables
from registry.evaluation.results import save
from tests.helpers.measured import measurement


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_table_without_rows_has_its_columns(tmp_path):
    (path,) = (path for path in write_tables(tmp_path / "tables") if path.stem == "measured")
    assert path.read_text().startswith("entry,hash,weights,metric,value,low,high,spread,conditions,features,")


def test_tables(tmp_path):
    save(measurement("mdm-micro", 3.0))
    paths = write_tables(tmp_path / "tables")
    rows = {path.stem: list(csv.DictReader(path.read_text().splitlines())) for path in paths}
    assert [row["entry"] for row in rows["costs"]] == zoo.list()
    assert {row["parameters"] for row in rows["costs"] if row["entry"] == "mdm-s64"} == {"461359107"}
    assert {(row["metric"], row["value"]) for row in rows["measured"]} >= {("fd_made_up", "3.0")}
    assert {row["entry"] for row in rows["reported"]} >= {"mdm-s256.in1k"}
    levels = [row for row in rows["levels"] if row["entry"] == "mdm-s1024"]
    assert sum(int(row["parameters"]) for row in levels) == 480_970_057


def test_one_bad_file_does_not_hide_the_others(cli, tmp_path, monkeypatch):
    (tmp_path / "bad.yaml").write_text("name: bad\nresolution: 16\nstagez: {}\n")
    monkeypatch.setenv("ZOO_PATH", str(tmp_path))
    code, out, err = cli("list", "--depth", "2", "--plain")
    assert code == 0 and "mdm-micro" in out.split() and "bad" not in out.split()
    assert err == "warning: entry 'bad' is left out: it cannot be read; run 'zoo check bad' to see why\n"
    code, out, err = cli("results", "-o", "tables")
    assert code == 0 and "entry 'bad' is left out" in err
