"""The language: YAML specs, resolved, expanded and checked into graphs; recipes and studies. Free of torch."""

import specs.public_names  # noqa: F401  modules by their names of before 0.2
