"""``zoo data encode``: the states of a text encoder for all captions of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from specs.errors import did_you_mean
from zoo.commands.options import Data, Device, Quiet
from zoo.early.data import check_data
from zoo.early.folder import local_output

if TYPE_CHECKING:
    from specs.graph import TextInput

PRECISIONS = ("auto", "float32", "bfloat16")


def encode(
    name: Data,
    out: Annotated[Path, typer.Argument(metavar="OUT", callback=local_output, help="Folder for the states.")],
    entry: Annotated[str, typer.Option(help="Entry whose text input sets width and tokens.")] = "mdm-nano.text",
    text_encoder: Annotated[
        str, typer.Option(metavar="ENCODER", help="Text encoder: embedded, a T5 of the hub, or a folder with one.")
    ] = "embedded",
    precision: Annotated[str, typer.Option(help="Precision of a T5: auto, float32 or bfloat16.")] = "auto",
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Encode the captions of a dataset once, for text_encoder of a recipe. Run the same command to resume."""
    check_data(name)
    if precision not in PRECISIONS:
        hint = did_you_mean(precision, PRECISIONS) or f"; choose from {', '.join(PRECISIONS)}"
        raise ValueError(f"--precision {precision}: no such precision{hint}")
    text = _text_input(entry)

    from builders.text.encode_dataset import encode_dataset
    from builders.text.encoder import EMBEDDED
    from builders.text.open import open_text_encoder
    from zoo.device import pick_device
    from zoo.terminal.progress import phase_bars

    if text_encoder == EMBEDDED and precision != "auto":
        raise ValueError(f"--precision is for a T5; {EMBEDDED!r} has a fixed precision")
    encoder = open_text_encoder(text_encoder, text, pick_device(device), precision=precision)
    with phase_bars(quiet) as show:
        found = encode_dataset(
            name,
            out,
            encoder,
            progress=lambda done, total: show("encoding shards", done, total),  # type: ignore[arg-type]  # in parts
        )
    reused = f" ({found.kept:,} reused)" if found.kept else ""
    print(
        f"{out}: {found.captions:,} captions of {found.shards + found.kept:,} shards{reused} by {encoder.name}; "
        f"for recipes: text_encoder: {out}"
    )


def _text_input(entry: str) -> TextInput:
    from registry.catalogue import architecture

    text = architecture(entry).text
    if text is None:
        raise ValueError(f"{entry} reads no text; use --entry with one that does, such as mdm-nano.text")
    return text
