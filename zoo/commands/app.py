"""The ``zoo`` command: registers the subcommands, each defined in a module of its own."""

from __future__ import annotations

import typer

from zoo.commands.card import card
from zoo.commands.check import check
from zoo.commands.compare import compare
from zoo.commands.convert import convert
from zoo.commands.dashboard import dashboard
from zoo.commands.data.encode import encode
from zoo.commands.data.inspect import inspect
from zoo.commands.data.pack import pack
from zoo.commands.demo import demo
from zoo.commands.draw import draw
from zoo.commands.evaluate import evaluate
from zoo.commands.expand import expand, schema
from zoo.commands.list import list_entries
from zoo.commands.match import match
from zoo.commands.results import results
from zoo.commands.sample import sample
from zoo.commands.show import show
from zoo.commands.study import study
from zoo.commands.track import track
from zoo.commands.train import train


def version() -> None:
    """Print the versions of the zoo and of the libraries its results depend on."""
    import platform
    from importlib.metadata import version as installed

    from zoo import __version__

    typer.echo(f"matryoshka-zoo {__version__}\npython {platform.python_version()}")
    for package in ("torch", "torchvision", "timm", "mlflow"):
        typer.echo(f"{package} {installed(package)}")


#: Options by their hidden names, which they had before version 0.2.
OLD_OPTIONS = {"out": "output", "held-out": "val", "no-held-out": "no-val"}


app = typer.Typer(
    help="A declarative zoo of Matryoshka diffusion models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda name: OLD_OPTIONS.get(name, name),
    },
)
data = typer.Typer(help="Pack and inspect datasets, encode their captions.", no_args_is_help=True)

#: Commands by their heading in the help.
PANELS = {
    "Entries": (show, check, expand, draw, schema, card, match, convert),
    "Training and sampling": (train, sample, demo),
    "Evaluation and tracking": (evaluate, results, compare, study, track, dashboard),
    "Other": (version,),
}

app.command("list", rich_help_panel="Entries")(list_entries)
for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
for part in (pack, inspect, encode):
    data.command()(part)
app.add_typer(data, name="data", rich_help_panel="Training and sampling")
