"""Comparing entries: tables, charts, the HTML report, and matching by cost.

Imports `registry.publishing`, `registry.evaluation` and what is below them.
"""

from specs.public_names import offer

__getattr__ = offer(__name__)
