"""Evaluation of samples: features, distances, results and their protocols.

Imports `registry.weights` and what is below it.
"""

from specs.public_names import offer

__getattr__ = offer(__name__)
