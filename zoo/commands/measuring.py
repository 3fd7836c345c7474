"""The command line's signatures for what is known of entries: costs, distances, tracking, comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.commands.options import Clip, Device, DynamicThreshold, Eta, GuidanceInterval, Json, Name, Overrides, Quiet

measuring = typer.Typer()

Entries = Annotated[list[str] | None, typer.Argument(metavar="ENTRY...", help="Names of entries. Default: all.")]


@measuring.command()
def evaluate(
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="An entry with weights, a checkpoint, a folder of images.")
    ],
    reference: Annotated[
        str | None, typer.Option(help="Data set or folder of images. Default: what the weights were trained on.")
    ] = None,
    split: Annotated[str, typer.Option(help="Of the reference: train, val or all.")] = "train",
    samples: Annotated[int, typer.Option("--samples", "-n", help="Number of samples to draw.")] = 1000,
    features: Annotated[str, typer.Option(help="efficientnet_lite0, inception (FID), or timm:MODEL.")] = (
        "efficientnet_lite0"
    ),
    resize: Annotated[str, typer.Option(help="To the features' resolution: bicubic, bilinear or none.")] = "bicubic",
    resolution: Annotated[int | None, typer.Option(help="Side in pixels to bring a folder's images to.")] = None,
    sampler: Annotated[str, typer.Option(help="ddim, ddpm or dpm++.")] = "ddim",
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 50,
    eta: Eta = 0.0,
    guidance: Annotated[float, typer.Option(help="Scale of classifier-free guidance; 1 is none.")] = 1.0,
    guidance_interval: GuidanceInterval = (0.0, 1.0),
    dynamic_threshold: DynamicThreshold = None,
    clip: Clip = True,
    seed: Annotated[int, typer.Option(help="Seed of the first sample.")] = 0,
    inception_weights: Annotated[Path | None, typer.Option(help="File of the weights that define FID.")] = None,
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder of results.")] = Path("results/measured"),
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure the distance of samples from real images: FID, KID and their kin."""
    import sys

    from zoo.commands.evaluate import evaluate_command, measurement_table, settings
    from zoo.terminal.console import console

    spec = settings(
        samples=samples,
        sampler=sampler,
        num_inference_steps=steps,
        guidance_scale=guidance,
        guidance_interval=guidance_interval,
        eta=eta,
        clip=clip,
        dynamic_threshold=dynamic_threshold,
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
    typer.echo(found.title)
    for warning in found.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    typer.echo(f"wrote {path}")


@measuring.command()
def match(
    entry: Annotated[str, typer.Argument(metavar="A", help="The entry to scale.")],
    like: Annotated[str, typer.Option("--like", metavar="B", help="The entry to come near.")],
    by: Annotated[str, typer.Option(help="flops or parameters.")] = "flops",
    inner: Annotated[bool, typer.Option("--inner", help="Scale the levels inside too.")] = False,
) -> None:
    """Print the variant of A whose cost is nearest that of B: a spec, for a fair baseline."""
    import sys

    from registry.comparison.matching import match as run

    found = run(entry, like, by, inner=inner)
    typer.echo(found.yaml, nl=False)
    print(f"{found.by}: {found.cost:,}, {found.ratio:.4f} of {found.like}'s {found.target:,}", file=sys.stderr)


@measuring.command()
def card(
    entry: Name,
    overrides: Overrides = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .md file; a picture is drawn beside it. Default: print.")
    ] = None,
) -> None:
    """Write an entry's model card: Markdown with the front matter of Hugging Face's hub."""
    from registry.publishing.model_card import model_card, write_card
    from zoo.commands.check import read

    found = read(entry, overrides or ())
    if output is None:
        typer.echo(model_card(found), nl=False)
        return
    picture = write_card(found, output)
    typer.echo(f"wrote {output} and {picture}")


@measuring.command()
def results(
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder for the CSV files.")] = Path("results"),
) -> None:
    """Write the costs and results of all entries as CSV files."""
    from registry.comparison.csv_tables import write_tables

    for path in write_tables(output):
        typer.echo(f"wrote {path}")


@measuring.command()
def track(
    entries: Entries = None,
    latency: Annotated[bool, typer.Option(help="Time a forward pass of small entries.")] = True,
    send: Annotated[
        Path | None, typer.Option("--send", metavar="RUN", help="Send what the store lacks of a training run's folder.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Record entries in MLflow, each once: costs, measured distances, spec, card and picture."""
    from zoo.commands.track import send_command, track_command

    if send is not None:
        if entries:
            raise ValueError("--send takes the folder of a run and no entries")
        typer.echo(send_command(send))
        return

    done = track_command(entries or (), latency=latency, quiet=quiet)
    created, added = sum(each.created for each in done), sum(each.added for each in done)
    typer.echo(f"{len(done)} entries: {created} new runs, {added} new values")


@measuring.command()
def dashboard(
    entries: Annotated[
        list[str] | None, typer.Argument(metavar="ENTRY...", help="Names of tracked entries. Default: all.")
    ] = None,
    print_url: Annotated[bool, typer.Option("--print-url", help="Print the address; leave the page running.")] = False,
    port: Annotated[int | None, typer.Option(help="Of a page that is started. Default: 5000 if free.")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="End the page that was left running.")] = False,
) -> None:
    """Open MLflow's page with a comparison of entries that is already set up."""
    from zoo.commands.dashboard import dashboard_command

    dashboard_command(entries or (), print_url=print_url, port=port, stop=stop)


@measuring.command()
def compare(
    entries: Annotated[list[str], typer.Argument(metavar="ENTRY...", help="Names of entries, or YAML files.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="An .html file for the report.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of training runs, for their curves.")] = Path("runs"),
) -> None:
    """Compare entries in a table and, with -o, in a report that needs nothing else."""
    import sys

    from zoo.commands.compare import compare_command, comparison_table
    from zoo.terminal.console import console

    comparison = compare_command(entries, output, runs)
    console().print(comparison_table(comparison))
    if comparison.title is not None:
        typer.echo(comparison.title)
    for note in comparison.notes:
        print(f"note: {note}", file=sys.stderr)
    if output is not None:
        typer.echo(f"wrote {output}")


@measuring.command()
def study(
    name: Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study, or path to a YAML file.")],
    overrides: Overrides = None,
    output: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the runs. Default: runs/NAME.")] = None,
    device: Device = None,
    quiet: Quiet = False,
    track: Annotated[bool, typer.Option(help="Log to MLflow.")] = True,
) -> int:
    """Train several entries at one budget, measure and track them; the same command goes on."""
    from zoo.commands.study import study_command

    return study_command(name, overrides=overrides or (), out=output, device=device, quiet=quiet, track=track)
