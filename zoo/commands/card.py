"""``zoo card``: the model card of an entry or of the weights of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.commands.options import Overrides, read_entry
from zoo.commands.sample import sample
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
    samples: Annotated[
        int, typer.Option(metavar="N", help="Samples per class or prompt, in a picture beside the card. Default: none.")
    ] = 0,
    prompts: Annotated[
        list[str] | None,
        typer.Option("--prompt", "-p", metavar="TEXT", help="Prompt of the samples; repeatable."),
    ] = None,
) -> None:
    """Write the model card of an entry or a run: Markdown with the front matter of the Hugging Face hub."""
    from registry.publishing.model_card import check_card, model_card, write_card
    from registry.publishing.subject import entry_subject, is_weights, weights_subject

    if samples < 0 or (samples and output is None):
        raise ValueError("--samples N draws a picture beside the card: N is at least 0, and --output names the card")
    if prompts and not samples:
        raise ValueError("--prompt is for the picture of samples: add --samples N")
    if is_weights(entry):
        if overrides:
            raise ValueError(f"--set changes an entry; {entry} has weights, whose spec is fixed")
        found = weights_subject(entry)
    else:
        found = entry_subject(read_entry(entry, overrides))
    if output is None:
        print(model_card(found), end="")
        return
    picture = None
    if samples and found.weights is None:
        raise ValueError(f"{entry} has no weights that draw samples; leave out --samples")
    if samples:
        check_card(output)
        picture = sample(entry, prompts=prompts, count=samples, output=output.with_suffix(".samples.png"))
    diagram = write_card(found, output, picture)
    print(f"wrote {output} and {diagram}")
