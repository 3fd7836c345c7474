"""Arguments and options that several commands share."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from pydantic import ValidationError

from specs.schemas.sampling import SamplerSpec
from specs.syntax.validation import explain
from zoo.device import check_device
from zoo.terminal.completion import complete_data, complete_entry

if TYPE_CHECKING:
    from registry.entry import Entry

STDIN = "<stdin>"
SAMPLING = SamplerSpec()
Spec = TypeVar("Spec", bound=SamplerSpec)


def read_entry(what: str, overrides: Sequence[str] | None = None) -> Entry:
    """Return the entry of this name or in this file, or on stdin if ``what`` is ``-``.

    Raises:
        LookupError, SpecError: As :func:`registry.catalogue.get`.
    """
    from registry.catalogue import get
    from registry.entry import Entry
    from specs.load import load_text

    if what != "-":
        return get(what, overrides or ())
    return Entry(load_text(read_stdin(), STDIN, overrides=overrides or ()))


def read_stdin() -> str:
    """Return the text on stdin.

    Raises:
        SpecError: It is too long, or not UTF-8.
    """
    from specs.errors import fail
    from specs.syntax.yaml_tree import MAX_BYTES

    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise fail("too-large", f"more than {MAX_BYTES} bytes", file=STDIN)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise fail("not-text", "this is not UTF-8 text", file=STDIN) from None


def _hush(quiet: bool) -> bool:
    """Turn off the progress bars of downloads too; huggingface_hub reads the variable when it is imported."""
    if quiet:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    return quiet


Name = Annotated[
    str,
    typer.Argument(
        metavar="ENTRY", help="Name of an entry, a YAML file, or - for stdin.", autocompletion=complete_entry
    ),
]
Data = Annotated[
    str,
    typer.Argument(metavar="DATA", help="Name of a dataset, a folder, shards or a URL.", autocompletion=complete_data),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="PATH=VALUE", help="Value to change: stages.r64.width=96. Repeatable."),
]
Device = Annotated[
    str | None, typer.Option(callback=check_device, help="Device, such as cuda or cpu. Default: a GPU if there is one.")
]
Seed = Annotated[
    int, typer.Option(min=0, max=2**62, help="Seed of the first sample; the next sample uses the next seed.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", callback=_hush, help="Show no progress.")]
ExperimentName = Annotated[
    str | None,
    typer.Option(
        "--experiment", metavar="NAME", help="Experiment in MLflow. Default: MLFLOW_EXPERIMENT_NAME, or matryoshka-zoo."
    ),
]
Track = Annotated[bool, typer.Option(help="Log to MLflow.")]


def _setting(name: str, metavar: str | None = None, default: str = "") -> Any:
    """Return the option of a sampler setting, with the description of the setting as its help."""
    text = SamplerSpec.model_fields[name].description or ""
    default = f" Default: {default}." if default else ""
    return typer.Option(help=f"{text[0].upper()}{text[1:]}.{default}", metavar=metavar, rich_help_panel="Sampling")


Sampler = Annotated[str, _setting("sampler")]
Steps = Annotated[int | None, _setting("num_inference_steps")]
Guidance = Annotated[float | None, _setting("guidance_scale", default="1")]
GuidanceInterval = Annotated[tuple[float, float], _setting("guidance_interval", metavar="FROM TO")]
Eta = Annotated[float, _setting("eta")]
Clip = Annotated[bool, _setting("clip")]
DynamicThreshold = Annotated[float | None, _setting("dynamic_threshold")]
Precision = Annotated[str, _setting("precision")]
Spacing = Annotated[str, _setting("spacing")]


def read_settings(schema: type[Spec], **values: Any) -> Spec:
    """Return settings from command-line options. Options that are None take their defaults.

    Raises:
        ValueError: An option has an invalid value; the message names the option.
    """
    values = {name: value for name, value in values.items() if value is not None}
    try:
        return schema(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name, message = str(*first["loc"][:1]), first["msg"]
        if not name:  # settings that do not go together
            raise ValueError(re.sub(r"'(\w+)'", lambda found: f"--{_option(found[1])}", message)) from None
        _, message = explain(first, schema, "the settings")
        message = re.sub(r", not .*?(?=; did you mean|$)", "", message.removeprefix(f"'{name}' "))
        raise ValueError(f"--{_option(name)} {values[name]}: {message}") from None


def _option(setting: str) -> str:
    """Return the name of the option that sets a setting."""
    return {"num_inference_steps": "steps", "guidance_scale": "guidance"}.get(setting, setting).replace("_", "-")
