"""The command line's signatures. Whatever is slow to import is imported inside a command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.commands.data import data
from zoo.commands.measuring import measuring
from zoo.commands.options import (
    Clip,
    Device,
    DynamicThreshold,
    Eta,
    GuidanceInterval,
    Json,
    Name,
    Overrides,
    Quiet,
    hush,
)

app = typer.Typer(
    help="A declarative zoo of Matryoshka diffusion models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("list")
def list_entries(
    pattern: Annotated[str | None, typer.Argument(help="A glob such as 'mdm-*' or '*.in1k'.")] = None,
    kind: Annotated[str | None, typer.Option(help="image or video.")] = None,
    resolution: Annotated[int | None, typer.Option(help="Side of the outermost level in pixels.")] = None,
    depth: Annotated[int | None, typer.Option(help="Number of nested levels; 1 for a flat network.")] = None,
    below: Annotated[str | None, typer.Option(help="Fewer parameters than this, such as 10M.")] = None,
    conditioning: Annotated[str | None, typer.Option(help="text, classes or none.")] = None,
    tag: Annotated[str | None, typer.Option(help="What follows the dot in mdm-s256.in1k.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Print names alone, one a line.")] = False,
    as_json: Json = False,
) -> None:
    """List the entries of the zoo."""
    from zoo.commands.list import list_entries as run
    from zoo.commands.list import number

    filters = {"kind": kind, "resolution": resolution, "depth": depth, "conditioning": conditioning, "tag": tag}
    parameters = None if below is None else number(below)
    run(pattern, plain=plain, as_json=as_json, parameters_below=parameters, **filters)


@app.command()
def show(
    entry: Name,
    overrides: Overrides = None,
    sampler: Annotated[str | None, typer.Option(help="Count a sample drawn so: ddim, ddpm or dpm++.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps of that sample.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Its scale of classifier-free guidance; 1 is none.")] = None,
    as_json: Json = False,
) -> None:
    """Show an entry's levels with their parameters, MACs and FLOPs; nothing is built."""
    from zoo.commands.check import read
    from zoo.terminal.console import console, print_json

    asked = {"sampler": sampler, "num_inference_steps": steps, "guidance_scale": guidance}
    card = read(entry, overrides or ()).card(**{name: value for name, value in asked.items() if value is not None})
    if as_json:
        print_json(card.as_dict())
    else:
        console().print(card)


@app.command()
def check(
    entries: Annotated[list[str], typer.Argument(metavar="ENTRY...", help="Names, YAML files, or - for stdin.")],
    overrides: Overrides = None,
) -> int:
    """Check specs; report everything that is wrong with them, where it stands in the file."""
    from zoo.commands.check import check as run

    return run(entries, overrides or ())


@app.command()
def expand(entry: Name, overrides: Overrides = None) -> None:
    """Print the full graph of an entry as YAML, every short form written out."""
    from zoo.commands.check import read

    typer.echo(read(entry, overrides or ()).expanded_yaml(), nl=False)


@app.command()
def schema() -> None:
    """Print the JSON Schema of entries, for editors."""
    from specs.load import json_schema
    from zoo.terminal.console import print_json

    print_json(json_schema())


@app.command()
def draw(
    entry: Name,
    output: Annotated[Path, typer.Option("--output", "-o", help="A .svg, .png or .pdf file.")],
    overrides: Overrides = None,
) -> None:
    """Draw an entry's levels, stages and skips."""
    from registry.publishing.diagram import draw_entry
    from zoo.commands.check import read

    draw_entry(read(entry, overrides or ()).architecture, output)
    typer.echo(f"wrote {output}")


@app.command()
def convert(
    config: Annotated[Path, typer.Argument(help="Published network configuration, JSON or YAML.")],
    checkpoint: Annotated[Path, typer.Argument(help="Published checkpoint (.pth); only its tensors are read.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for NAME.yaml and NAME.safetensors.")],
    name: Annotated[str | None, typer.Option(help="Name of the entry; default: that of the configuration.")] = None,
    text_width: Annotated[int | None, typer.Option(help="Width of the text tokens; default: as the weights.")] = None,
    state_dict: Annotated[str | None, typer.Option(help="Which of several state dicts in the checkpoint.")] = None,
) -> None:
    """Turn a published network into a spec and a safetensors file."""
    from zoo.commands.convert import convert as run

    run(config, checkpoint, output, name=name, text_width=text_width, state_dict=state_dict)


@app.command()
def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="Name of a recipe, or path to a YAML file; an entry's with --data.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-s", metavar="PATH=VALUE", help="Change a value, as in phases.p16.steps=100; repeatable."
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Train an entry on this data set or folder of shards, level by level.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="With --data: steps over all levels.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the run, which goes on if it has begun. Default: runs/NAME."),
    ] = None,
    device: Device = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", callback=hush, help="Print errors alone.")] = False,
    track: Annotated[bool, typer.Option(help="Log to MLflow.")] = True,
) -> int:
    """Train by a recipe, or an entry on --data, level by level. Ctrl-C saves; the same command goes on."""
    from zoo.commands.train import train_command

    return train_command(
        recipe,
        overrides=overrides or (),
        data=data,
        steps=steps,
        out=output,
        device=device,
        quiet=quiet,
        track=track,
    )


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")] = Path("runs/demo"),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the result alone.")] = False,
    track: Annotated[bool, typer.Option(help="Log to MLflow.")] = True,
) -> int:
    """Train mdm-nano on emoji for about three minutes, draw samples of every level, log it all."""
    from zoo.commands.demo import demo_command

    return demo_command(out=output, track=track, quiet=quiet)


@app.command()
def sample(
    entry: Annotated[str, typer.Argument(metavar="WHAT", help="An entry with weights, a checkpoint, or its folder.")],
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", "-c", metavar="CLASS", help="Name or number; repeatable. Default: all."),
    ] = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option("--prompt", "-p", metavar="TEXT", help="What to draw, for a model that reads text; repeatable."),
    ] = None,
    text_encoder: Annotated[
        str | None, typer.Option(help="embedded, a T5 by name, or a folder. Default: the one it was trained with.")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", help="Samples of each class or prompt.")] = 2,
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 50,
    sampler: Annotated[str, typer.Option(help="ddim, ddpm or dpm++.")] = "ddim",
    eta: Eta = 0.0,
    guidance: Annotated[float, typer.Option(help="Scale of classifier-free guidance; 1 is none.")] = 2.0,
    guidance_interval: GuidanceInterval = (0.0, 1.0),
    dynamic_threshold: DynamicThreshold = None,
    clip: Clip = True,
    seed: Annotated[int, typer.Option(help="Seed of the first sample; each further one takes the next.")] = 0,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A .png for a grid; or a folder for any number, which goes on.")
    ] = Path("samples.png"),
    previews: Annotated[
        Path | None, typer.Option(help="A .png of what the first samples are predicted to be on the way.")
    ] = None,
    device: Device = None,
    nearest: Annotated[bool, typer.Option(help="Show the nearest training image beside each sample.")] = True,
    quiet: Quiet = False,
) -> None:
    """Draw images at every level."""
    from builders.sampling.generation import SamplerSettings
    from zoo.commands.sample import sample_command

    path = sample_command(
        entry,
        classes=classes or (),
        prompts=prompts or (),
        text_encoder_name=text_encoder,
        count=count,
        settings=SamplerSettings(sampler, steps, guidance, guidance_interval, eta, clip, dynamic_threshold),
        seed=seed,
        out=output,
        device=device,
        nearest=nearest,
        previews=previews,
        quiet=quiet,
    )
    typer.echo(f"wrote {path}")


@app.command()
def version() -> None:
    """Print the versions of the zoo and of what its results depend on."""
    import platform
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    from zoo import __version__

    typer.echo(f"matryoshka-zoo {__version__}")
    typer.echo(f"python {platform.python_version()}")
    for package in ("torch", "torchvision", "timm", "mlflow"):
        try:
            typer.echo(f"{package} {installed(package)}")
        except PackageNotFoundError:
            typer.echo(f"{package} not installed")


# Without a name of its own, the group's commands stand beside the others.
app.add_typer(measuring)
app.add_typer(data, name="data")
