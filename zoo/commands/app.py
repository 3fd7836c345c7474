"""The command line's signatures. Whatever is slow to import is imported inside a command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="A declarative zoo of Matryoshka diffusion models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Argument(metavar="ENTRY", help="Name of an entry, YAML file, or - for stdin.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="PATH=VALUE", help="Change a value, as in stages.r64.width=96; repeatable."),
]
Device = Annotated[str | None, typer.Option(help="Such as cuda or cpu. Default: a GPU if there is one.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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
def show(entry: Name, overrides: Overrides = None, as_json: Json = False) -> None:
    """Show an entry's levels with their parameters, MACs and FLOPs; nothing is built."""
    from zoo.commands.check import read
    from zoo.console import console, print_json

    card = read(entry, overrides or ()).card()
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
    from zoo.console import print_json

    print_json(json_schema())


@app.command()
def draw(
    entry: Name,
    output: Annotated[Path, typer.Option("--output", "-o", help="A .svg, .png or .pdf file.")],
    overrides: Overrides = None,
) -> None:
    """Draw an entry's levels, stages and skips."""
    from registry.picture import draw_entry
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
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a recipe, or path to a YAML file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-s", metavar="PATH=VALUE", help="Change a value, as in phases.p16.steps=100; repeatable."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the run, which goes on if it has begun. Default: runs/NAME."),
    ] = None,
    device: Device = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors alone.")] = False,
    track: Annotated[bool, typer.Option(help="Log to MLflow.")] = True,
) -> int:
    """Train by a recipe, level by level. Ctrl-C saves; the same command goes on."""
    from zoo.commands.train import train_command
    from zoo.device import pick_device

    where = str(pick_device(device))
    return train_command(recipe, overrides=overrides or (), out=output, device=where, quiet=quiet, track=track)


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
    count: Annotated[int, typer.Option("--count", "-n", help="Samples of each class.")] = 2,
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 50,
    sampler: Annotated[str, typer.Option(help="ddim, ddpm or dpm++.")] = "ddim",
    guidance: Annotated[float, typer.Option(help="Scale of classifier-free guidance; 1 is none.")] = 2.0,
    seed: Annotated[int, typer.Option(help="Seed of the first sample; each further one takes the next.")] = 0,
    output: Annotated[Path, typer.Option("--output", "-o", help="A .png for a grid, or a folder.")] = Path(
        "samples.png"
    ),
    device: Device = None,
    nearest: Annotated[bool, typer.Option(help="Show the nearest training image beside each sample.")] = True,
) -> None:
    """Draw images at every level."""
    from zoo.commands.sample import sample_command

    path = sample_command(
        entry,
        classes=classes or (),
        count=count,
        steps=steps,
        sampler=sampler,
        guidance=guidance,
        seed=seed,
        out=output,
        device=device,
        nearest=nearest,
    )
    typer.echo(f"wrote {path}")


@app.command()
def evaluate(
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="An entry with weights, a checkpoint, a folder of images.")
    ],
    reference: Annotated[
        str | None, typer.Option(help="Data set or folder of images. Default: what the weights were trained on.")
    ] = None,
    split: Annotated[str, typer.Option(help="Of the reference: train, held_out or all.")] = "train",
    samples: Annotated[int, typer.Option("--samples", "-n", help="Number of samples to draw.")] = 1000,
    features: Annotated[str, typer.Option(help="efficientnet_lite0, inception (FID), or timm:MODEL.")] = (
        "efficientnet_lite0"
    ),
    resize: Annotated[str, typer.Option(help="To the features' resolution: bicubic, bilinear or none.")] = "bicubic",
    resolution: Annotated[int | None, typer.Option(help="Side in pixels to bring a folder's images to.")] = None,
    sampler: Annotated[str, typer.Option(help="ddim, ddpm or dpm++.")] = "ddim",
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 50,
    guidance: Annotated[float, typer.Option(help="Scale of classifier-free guidance; 1 is none.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of the first sample.")] = 0,
    inception_weights: Annotated[Path | None, typer.Option(help="File of the weights that define FID.")] = None,
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder of results.")] = Path("results/measured"),
    device: Device = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    as_json: Json = False,
) -> None:
    """Measure the distance of samples from real images: FID, KID and their kin."""
    import sys

    from zoo.commands.evaluate import evaluate_command, measurement_table, settings
    from zoo.console import console

    spec = settings(
        samples=samples,
        sampler=sampler,
        num_inference_steps=steps,
        guidance_scale=guidance,
        seed=seed,
        features=features,
        resize=resize,
        split=split,
    )
    found, path = evaluate_command(
        what,
        spec,
        reference=reference,
        resolution=resolution,
        inception_weights=inception_weights,
        out=output,
        device=device,
        quiet=quiet or as_json,
    )
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
        return
    console().print(measurement_table(found))
    typer.echo(found.protocol.title)
    for warning in found.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    typer.echo(f"wrote {path}")


@app.command()
def match(
    entry: Annotated[str, typer.Argument(metavar="A", help="The entry to scale.")],
    like: Annotated[str, typer.Option("--like", metavar="B", help="The entry to come near.")],
    by: Annotated[str, typer.Option(help="flops or parameters.")] = "flops",
    inner: Annotated[bool, typer.Option("--inner", help="Scale the levels inside too.")] = False,
) -> None:
    """Print the variant of A whose cost is nearest that of B: a spec, for a fair baseline."""
    import sys

    from registry.matching import match as run

    found = run(entry, like, by, inner=inner)
    typer.echo(found.yaml, nl=False)
    print(f"{found.by}: {found.cost:,}, {found.ratio:.4f} of {found.like}'s {found.target:,}", file=sys.stderr)


@app.command()
def card(
    entry: Name,
    overrides: Overrides = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .md file; a picture is drawn beside it. Default: print.")
    ] = None,
) -> None:
    """Write an entry's model card: Markdown with the front matter of Hugging Face's hub."""
    from registry.model_card import model_card
    from registry.picture import draw_entry
    from zoo.commands.check import read

    found = read(entry, overrides or ())
    if output is None:
        typer.echo(model_card(found), nl=False)
        return
    picture = output.with_suffix(".svg")
    output.parent.mkdir(parents=True, exist_ok=True)
    draw_entry(found.architecture, picture)
    output.write_text(model_card(found, picture.name))
    typer.echo(f"wrote {output} and {picture}")


@app.command()
def results(
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder for the CSV files.")] = Path("results"),
) -> None:
    """Write the costs and results of all entries as CSV files."""
    from registry.tables import write_tables

    for path in write_tables(output):
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
