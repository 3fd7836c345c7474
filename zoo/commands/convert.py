"""``zoo convert``: a published network as a spec and a safetensors file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.early.folder import check_folder, local_output


def convert(
    config: Annotated[Path, typer.Argument(help="Published network configuration, JSON or YAML.")],
    checkpoint: Annotated[Path, typer.Argument(help="Published checkpoint (.pth); only its tensors are read.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", callback=local_output, help="Folder for NAME.yaml and NAME.safetensors.")
    ],
    name: Annotated[str | None, typer.Option(help="Name of the entry. Default: that of the configuration.")] = None,
    text_width: Annotated[int | None, typer.Option(help="Width of the text tokens. Default: from the weights.")] = None,
    state_dict: Annotated[str | None, typer.Option(help="State dict to read, if the checkpoint has several.")] = None,
) -> None:
    """Turn a published network into a spec and a safetensors file."""
    for path in (config, checkpoint):
        if not path.is_file():
            raise ValueError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    check_folder(output)

    from builders.published.convert import convert as write

    for path in write(config, checkpoint, output, name=name, text_width=text_width, state_dict=state_dict):
        print(f"wrote {path}")
