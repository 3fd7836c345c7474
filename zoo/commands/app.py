"""The ``zoo`` command: registers the subcommands, each defined in a module of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from zoo.commands.card import card
from zoo.commands.check import check
from zoo.commands.compare import compare
from zoo.commands.convert import convert
from zoo.commands.dashboard import dashboard
from zoo.commands.data.encode import encode
from zoo.commands.data.inspect import inspect
from zoo.commands.data.make import make
from zoo.commands.data.pack import pack
from zoo.commands.demo import demo
from zoo.commands.draw import draw
from zoo.commands.evaluate import evaluate
from zoo.commands.expand import expand, schema
from zoo.commands.listing.entries import list_entries
from zoo.commands.match import match
from zoo.commands.plan import plan
from zoo.commands.results import results
from zoo.commands.sample import sample
from zoo.commands.show import show
from zoo.commands.study import study
from zoo.commands.track import track
from zoo.commands.train import train
from zoo.commands.weights.average import average
from zoo.terminal.help import Command, Group


def version() -> None:
    """Print the versions of the zoo and of the libraries its results depend on."""
    import platform
    from importlib.metadata import version as installed

    from zoo import __version__

    typer.echo(f"matryoshka-zoo {__version__}\npython {platform.python_version()}")
    for package in ("torch", "torchvision", "timm", "mlflow"):
        typer.echo(f"{package} {installed(package)}")


def _show_version(asked: bool) -> None:
    if asked:
        from zoo import __version__

        typer.echo(f"matryoshka-zoo {__version__}")
        raise typer.Exit


#: Options by their hidden names, which they had before version 0.2.
OLD_OPTIONS = {"out": "output", "held-out": "val", "no-held-out": "no-val"}


app = typer.Typer(
    cls=Group,
    help="A declarative zoo of Matryoshka diffusion models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda name: OLD_OPTIONS.get(name, name),
    },
)
data = typer.Typer(
    cls=Group,
    help="Pack, make and inspect datasets, encode their captions.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

#: Commands by their heading in the help.
HEADINGS = {
    "Author": (show, check, expand, draw, schema, match),
    "Train and sample": (plan, train, average, sample, demo),
    "Measure and compare": (evaluate, results, compare, study, track, dashboard),
    "Publish": (card, convert),
    "Other": (version,),
}


@app.callback()
def main(
    show_version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version of the zoo.")
    ] = False,
) -> None:
    """A declarative zoo of Matryoshka diffusion models."""


app.command("list", cls=Command, rich_help_panel="Author")(list_entries)
for heading, commands in HEADINGS.items():
    for command in commands:
        app.command(cls=Command, rich_help_panel=heading)(command)
for part in (pack, make, inspect, encode):
    data.command(cls=Command)(part)
app.add_typer(data, name="data", rich_help_panel="Train and sample")
