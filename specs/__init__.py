"""The language: YAML specs that are resolved, expanded and checked into graphs; recipes and studies. Needs no torch."""

import specs.public_names  # noqa: F401  old names of modules
