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
    "--guidance": "guidance_scale",
    "--reference": "reference",
    "--resolution": "resolution",
    "--device": "device",
    "--output": "output",
    "--data": "data",
    "--set": "overrides",
}


@contextlib.contextmanager
def python_names(steps: str = "num_inference_steps") -> Iterator[None]:
    """Name arguments instead of options in the text of a ValueError; ``steps`` is the argument for ``--steps``."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        for option, argument in (ARGUMENTS | {"--steps": steps}).items():
            text = text.replace(option, argument)
        if text == str(error):
            raise
        raise type(error)(text) from None
