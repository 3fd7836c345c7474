"""``zoo card``: the model card of an entry or of the weights of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.commands.options import Overrides, read_entry
from zoo.early.folder import local_output
from zoo.terminal.completion import complete_entry


def card(
    entry: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="Name of an entry, a YAML file, a checkpoint, or the folder of a run.",
            autocompletion=complete_entry,
        ),
    ],
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", callback=local_output, help="A .md file; a diagram is drawn beside it. Default: print."
        ),
    ] = None,
) -> None:
    """Write the model card of an entry or a run: Markdown with the front matter of the Hugging Face hub."""
    from registry.publishing.model_card import model_card, write_card
    from registry.publishing.subject import entry_subject, is_weights, weights_subject

    if is_weights(entry):
        if overrides:
            raise ValueError(f"--set changes an entry; {entry} has weights, whose spec is fixed")
        found = weights_subject(entry)
    else:
        found = entry_subject(read_entry(entry, overrides))
    if output is None:
        print(model_card(found), end="")
        return
    diagram = write_card(found, output)
    print(f"wrote {output} and {diagram}")
