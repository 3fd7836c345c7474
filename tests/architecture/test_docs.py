"""The documentation names what there is."""

from __future__ import annotations

import re

from registry.study_report.analysis import analyse
from registry.study_report.tables import contrasts_table, search_table
from registry.study_runs.results import read_results
from specs.arms import load_arm_study
from specs.blocks import BLOCKS
from specs.errors import CODES
from specs.load import load_text
from tests.helpers.paths import DOCS


def test_every_error_code_and_block_is_documented():
    text = (DOCS / "language.md").read_text()
    for code, meaning in CODES.items():
        assert f"| `{code}` | {meaning} |" in text
    for name, block in BLOCKS.items():
        row = next((line for line in text.splitlines() if line.startswith(f"| `{name}` | `")), None)
        assert row is not None, f"docs/language.md has no row for the block {name}"
        assert all(f"`{argument}: " in row for argument in block.Args.model_fields)


def test_the_examples_load():
    text = (DOCS / "language.md").read_text()
    example = text.split("## Graph\n\n")[1].split("\n\n")[0]
    load_text("name: example\nresolution: 16\n" + "\n".join(line[4:] for line in example.splitlines()))


def test_the_recipe_in_the_training_page_is_the_shipped_one():
    text = (DOCS / "training.md").read_text()
    recipe = (DOCS.parent / "specs/recipes/nano-progressive.yaml").read_text()
    assert "".join(f"    {line}\n" for line in recipe.splitlines()) in text


def test_the_page_of_results_has_the_tables_of_every_complete_study():
    """The tables are those of ``zoo study NAME --report``."""
    text = (DOCS / "studies.md").read_text(encoding="utf-8")
    complete = []
    for name in ("A", "A-glyphs", "B", "B-rates", "C", "D", "E"):
        found = analyse(load_arm_study(name).study, read_results(DOCS.parent / "results" / "studies" / name))
        if any(arm.missing for arm in found.arms):
            continue
        complete.append(name)
        assert f"## {name}: " in text, f"docs/studies.md has no section of the study {name}"
        others = [each for each in found.contrasts if not each.spec.primary]
        for contrasts in (found.primary, others):
            assert not contrasts or contrasts_table(contrasts).markdown in text, name
        searched = search_table(found)
        assert searched is None or searched.markdown in text, name
    assert {"A", "A-glyphs", "B", "B-rates", "C", "D", "E"} <= set(complete)


def test_pictures_and_files_that_pages_show_exist():
    for page in (*DOCS.glob("*.md"), DOCS.parent / "README.md"):
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
