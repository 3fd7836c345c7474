"""The documentation names what there is."""

from __future__ import annotations

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
