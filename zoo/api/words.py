"""Names of arguments in place of options of the command line, in the errors of the Python functions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

__all__ = ["python_names"]

#: Arguments by the options that messages name.
ARGUMENTS = {
    "--classes auto": 'classes="auto"',
    "--classes": "classes",
    "--class": "classes",
    "--prompt": "prompts",
    "--text-encoder": "text_encoder",
    "--count": "n",
    "--steps": "num_inference_steps",
    "--guidance": "guidance_scale",
    "--reference": "reference",
    "--resolution": "resolution",
    "--device": "device",
    "--output": "output",
    "--data": "data",
    "--set": "overrides",
}


@contextlib.contextmanager
def python_names() -> Iterator[None]:
    """Name arguments instead of options in the text of a ValueError."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        for option, argument in ARGUMENTS.items():
            text = text.replace(option, argument)
        if text == str(error):
            raise
        raise type(error)(text) from None
