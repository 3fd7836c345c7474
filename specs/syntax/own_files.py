"""Recognise the YAML files of this package by their keys, before an error could quote another file."""

from __future__ import annotations

import re

__all__ = ["is_ours"]

#: Keys of entries, recipes and studies, one of which each of them has, also if it has a mistake.
_MODELS = "resolution|stages|graph|nest|extends|variants|entry|entries|phases"
#: Keys of the other files: tags, other names, datasets.
_OTHERS = "inputs|classes|aliases|renamed|licence|splits|summary"


def is_ours(text: str, *, others: bool = False) -> bool:
    """Return whether a text has a key of an entry, recipe or study, or is empty.

    Args:
        text: Text of a file.
        others: Whether the keys of tags, other names and datasets count too.
    """
    keys = rf"[\"']?({_MODELS}{'|' + _OTHERS if others else ''})[\"']?\s*:"
    inline = text.lstrip()[:1] == "{"
    return not text.strip() or re.search(keys if inline else rf"^{keys}", text, re.MULTILINE) is not None
